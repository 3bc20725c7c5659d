"""Operations that a program from a file may call.

``torch`` finds an operation by walking attributes from a name, and among ATen's own some map files, take pointers from
the bytes of a tensor, or write where an index points without a look at it. So all that are not listed are refused.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

from netfold.capture.activations import ELEMENTWISE, SELECTIONS
from netfold.capture.affine import AFFINE

ON_SIZES = re.compile(
    r"torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond|while_loop)"
    r"|torch\.sym_(int|float|max|min|not|sum|ite|sqrt)"
    r"|math\.(ceil|floor|trunc)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
)

ATEN = re.compile(r"torch\.ops\.aten\.([a-zA-Z_]\w*)\.([a-zA-Z]\w*)")

CORE_BUT_NOT = re.compile(r"resize_|_local_scalar_dense|.*_backward|_embedding_bag|_fft_\w+")
"""Core operations that write where an index points, or give memory as they find it."""

OTHERS = {
    *("softmax", "log_softmax", "_safe_softmax", "layer_norm", "group_norm", "instance_norm", "rms_norm"),
    *("scaled_dot_product_attention", "glu", "hardswish", "log_sigmoid", "logsumexp", "softmin", "cosine_similarity"),
    *(
        "pairwise_distance",
        "cdist",
        "norm",
        "linalg_norm",
        "linalg_vector_norm",
        "linalg_matrix_norm",
        "frobenius_norm",
    ),
    *("std", "std_mean", "var_mean", "cumprod", "cummax", "cummin", "logcumsumexp", "nansum", "nanmean", "median"),
    *("_weight_norm", "_weight_norm_interface", "native_batch_norm", "_native_batch_norm_legit_functional"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "rrelu_with_noise"),
    *("fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"),
    *("zeros", "ones", "zeros_like", "ones_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"),
    *("eye", "linspace", "logspace", "tril_indices", "triu_indices", "meshgrid", "cartesian_prod", "one_hot"),
    *("affine_grid_generator", "grid_sampler", "grid_sampler_3d", "embedding_bag", "embedding_renorm"),
    *("all", "allclose", "isclose", "isin", "count_nonzero", "argsort", "argwhere", "bucketize", "searchsorted"),
    *("masked_select", "index_fill", "index_reduce", "aminmax", "kthvalue", "mode", "msort", "unique_consecutive"),
    *("absolute", "negative", "subtract", "divide", "floor_divide", "greater", "greater_equal", "less", "less_equal"),
    *("not_equal", "arccos", "arcsin", "arctan", "arctan2", "arccosh", "arcsinh", "arctanh", "special_expit"),
    *("special_erf", "special_expm1", "special_log1p", "special_softmax", "special_log_softmax", "special_logsumexp"),
    *("real", "imag", "conj", "resolve_conj", "resolve_neg", "view_as_real", "view_as_complex", "complex", "polar"),
    *("cross", "linalg_cross", "linalg_matmul", "linalg_multi_dot", "linalg_inv", "linalg_solve", "linalg_det"),
    *("linalg_qr", "linalg_svd", "linalg_cholesky", "linalg_eigh", "matrix_exp", "linalg_matrix_power", "vdot", "mH"),
    *("matrix_H", "linalg_householder_product"),
    *("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2"),
    *(
        "diag",
        "diagflat",
        "matrix_H",
        "linalg_householder_product",
        "trapezoid",
        "ravel",
        "reshape_as",
        "swapaxes",
        "narrow_copy",
        "lift",
        "lift_fresh",
        "item",
    ),
    *("is_nonzero", "is_floating_point", "size", "numel", "dim", "broadcast_tensors", "index_put", "sum_to_size"),
    *("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range_for_size"),
    *("sym_constrain_range", "rand_like", "randn_like", "bernoulli", "normal", "uniform", "multinomial"),
}
"""Operations beyond those that netfold knows, and those that ``torch`` calls core or pointwise."""


@functools.lru_cache(4096)
def is_allowed(name: str) -> bool:
    """Whether a program from a file may call the operation of this name.

    Example:
        >>> is_allowed("torch.ops.aten.relu_.default"), is_allowed("torch.os.system")
        (True, False)
    """
    if ON_SIZES.fullmatch(name):
        return True
    found = ATEN.fullmatch(name)
    if found is None or "__" in name or CORE_BUT_NOT.fullmatch(found[1]):
        return False
    packet: Any = getattr(torch.ops.aten, found[1], None)
    operation = getattr(packet, found[2], None)
    if not isinstance(packet, OpOverloadPacket) or not isinstance(operation, OpOverload):
        return False
    if any(argument.is_out for argument in operation._schema.arguments):
        return False
    base = found[1].removesuffix("_") or found[1]
    listed = base in OTHERS or base in AFFINE or base in ELEMENTWISE or base in SELECTIONS
    return listed or any(
        tag in getattr(packet, name).tags
        for name in packet.overloads()
        for tag in (torch.Tag.core, torch.Tag.pointwise)
    )
