"""Which ATen operations are affine in the point, given which of their arguments depend on it.

Every entry maps an operation's name to a test on the names of its arguments that depend on the point (a name
comes once for every tensor it holds). Operations not listed here nor in `netfold.capture.activations` count
as neither.
"""

from __future__ import annotations

from collections.abc import Callable

from netfold.capture.operations import SHAPES

Test = Callable[[list[str]], bool]


def _always(dependent: list[str]) -> bool:
    return True


def _only(*names: str) -> Test:
    return lambda dependent: set(dependent) <= set(names)


def _one(dependent: list[str]) -> bool:
    return len(dependent) == 1


def _one_of(*factors: str) -> Test:
    """At most one of the factors of a product; what is added to it may depend on the point as well."""
    return lambda dependent: len([name for name in dependent if name in factors]) <= 1


_LINEAR = {
    # sums and copies
    *("add", "sub", "rsub", "neg", "sum", "mean", "cumsum", "diff", "trace", "clone", "contiguous"),
    *("alias", "detach", "lift_fresh_copy", "copy", "to", "_to_copy", "type_as", "fill", "zero"),
    # shapes
    *SHAPES,
    *("mT", "numpy_T", "adjoint"),
    *("expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile", "unfold", "atleast_1d"),
    *("atleast_2d", "atleast_3d"),
    # parts and joins
    *("slice", "select", "narrow", "split", "split_with_sizes", "chunk", "tensor_split", "hsplit"),
    *("vsplit", "dsplit", "unbind", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "cat"),
    *("concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "block_diag"),
    *("diagonal", "diag_embed", "tril", "triu", "flip", "fliplr", "flipud", "roll", "rot90"),
    *("slice_scatter", "select_scatter", "diagonal_scatter"),
    # padding, pooling, resampling
    *("constant_pad_nd", "pad", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d", "avg_pool1d", "avg_pool2d"),
    *("avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "upsample_nearest1d", "upsample_nearest2d"),
    *("upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d"),
    *("_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
    *("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col", "col2im"),
    # complex numbers are pairs of real ones: all of these are linear in the pairs
    *("real", "imag", "view_as_real", "view_as_complex", "complex", "conj", "_conj", "conj_physical", "resolve_conj"),
    *("_conj_physical", "resolve_neg", "_neg_view", "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft"),
    *("fft_ihfft", "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn"),
    *("fft_irfftn", "fft_fftshift", "fft_ifftshift", "_fft_r2c", "_fft_c2c", "_fft_c2r"),
}
"""Operations that are linear in all of their arguments together."""

_PRODUCTS = (
    "mul",
    "multiply",
    "matmul",
    "mm",
    "bmm",
    "mv",
    "dot",
    "inner",
    "outer",
    "kron",
    "einsum",
    "tensordot",
)

_CONVOLUTIONS = (
    *("conv1d", "conv2d", "conv3d", "convolution", "conv_tbc"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)

_NORMS = (
    "batch_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
)

_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")

AFFINE: dict[str, Test] = {
    **dict.fromkeys(_LINEAR, _always),
    **dict.fromkeys(_PRODUCTS, _one),
    "addmm": _one_of("mat1", "mat2"),
    "addbmm": _one_of("batch1", "batch2"),
    "baddbmm": _one_of("batch1", "batch2"),
    "addmv": _one_of("mat", "vec"),
    "addr": _one_of("vec1", "vec2"),
    "addcmul": _one_of("tensor1", "tensor2"),
    "addcdiv": _only("self", "tensor1"),
    "div": _only("self"),
    "true_divide": _only("self"),
    "bilinear": _one_of("input1", "input2"),
    "lerp": _only("self", "end"),
    "linear": _only("input"),
    **dict.fromkeys(_CONVOLUTIONS, _only("input")),
    # normalisation with stored statistics, and dropout that does nothing: both are refused in training mode
    **dict.fromkeys(_NORMS, _only("input")),
    **dict.fromkeys(_DROPOUTS, _always),
    # choices that do not depend on the point
    "where": _only("self", "other"),
    "masked_fill": _only("self", "value"),
    "index": _only("self"),
    "index_select": _only("self"),
    "gather": _only("self"),
    "take": _only("self"),
    "take_along_dim": _only("self"),
    "index_add": _only("self", "source"),
    "index_copy": _only("self", "source"),
    "index_put": _only("self", "values"),
    "scatter": _only("self", "src"),
    "scatter_add": _only("self", "src"),
    "embedding": _only("weight"),
    "grid_sampler": _only("input"),
}
"""For every affine operation: whether it is one when the arguments of these names depend on the point."""

WEIGHTED = {
    *("linear", "matmul", "mm", "bmm", "mv", "dot", "inner", "einsum", "tensordot", "addmm", "addbmm", "baddbmm"),
    *("addmv", "bilinear", *_CONVOLUTIONS),
}
"""Operations that multiply the point with weights, each output with several entries."""
