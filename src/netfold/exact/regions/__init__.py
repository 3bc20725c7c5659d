"""Single regions: their faces, geometry, affine maps, what lies behind a face; Betti numbers."""
