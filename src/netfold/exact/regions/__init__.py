"""Single regions: their faces, geometry, affine maps, and what lies behind a face."""
