"""Archives that try to run code when they are opened: one for every way in which torch reads a ``.pt2`` file."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import torch

ROOT = "model/"
MARK = "exploded"
CODE = f"__import__('os').mkdir('{MARK}')"
"""Leaves a folder beside the reader when it is evaluated."""


class Exploding:
    """Its pickle leaves the same folder when it is opened."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (MARK,)


def torch_pickle() -> bytes:
    buffer = io.BytesIO()
    torch.save(Exploding(), buffer)
    return buffer.getvalue()


Members = list[tuple[str, bytes]]
"""Names below the archive's folder, and contents, in order; a name may come twice."""


def members_of(path: str) -> Members:
    """The members of a .pt2 file."""
    with zipfile.ZipFile(path) as archive:
        return [(name.partition("/")[2], archive.read(name)) for name in archive.namelist()]


def packed(members: Members, root: str = ROOT, at: int = 0) -> tuple[bytes, bytes]:
    """The members as bytes, and their directory, where the former begin at an offset of the file."""
    content, directory = b"", b""
    for name, data in members:
        told = (root + name).encode()
        facts = struct.pack("<4H3L2H", 0, 0, 0, 0, zipfile.crc32(data), len(data), len(data), len(told), 0)
        where = struct.pack("<3H2L", 0, 0, 0, 0, at + len(content))
        directory += b"PK\1\2" + b"\0\0" + b"\0\0" + facts + where + told
        content += b"PK\3\4" + b"\0\0" + facts + told + data
    return content, directory


def ended(members: Members, directory: bytes, offset: int) -> bytes:
    """The end of a directory."""
    return b"PK\5\6" + struct.pack("<4H2LH", 0, 0, len(members), len(members), len(directory), offset, 0)


def archive(members: Members, root: str = ROOT) -> bytes:
    """A zip archive of the members as they come, also where a name comes twice."""
    content, directory = packed(members, root)
    return content + directory + ended(members, directory, len(content))


def with_two_directories(shown: Members, hidden: Members) -> bytes:
    """One archive in which Python finds the first members, and torch the second."""

    def far(members: Members, directory: bytes, offset: int) -> bytes:
        count = len(members)
        return b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, len(directory), offset)

    content, directory = packed(hidden)
    first = content + directory + far(hidden, directory, len(content))
    torchs = len(content) + len(directory)
    content, directory = packed(shown, at=len(first))
    offset = len(first) + len(content)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, torchs, 1)
    return first + content + directory + far(shown, directory, offset) + locator + ended(shown, directory, offset)


def replaced(members: Members, name: str, content: bytes | Callable[[bytes], bytes]) -> Members:
    """The members with another content of one."""
    return [(n, (content(c) if callable(content) else content) if n == name else c) for n, c in members]


def renamed(members: Members, old: str, new: str) -> Members:
    """The members with another name of one."""
    return [(new if n == old else n, c) for n, c in members]


def edited(*path: Any, value: Any) -> Callable[[bytes], bytes]:
    """Set one value in a JSON text."""

    def edit(content: bytes) -> bytes:
        tree = inner = json.loads(content)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return json.dumps(tree).encode()

    return edit


JSON, INPUTS = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
GRAPH = ("graph_module", "graph")
NODE = (*GRAPH, "nodes", 0)
CALL = ("graph_module", "module_call_graph", 0, "signature")
SIZE = (*GRAPH, "tensor_values", "input", "sizes", 0, "as_expr", "expr_str")
PAYLOAD = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}


def evil_program(content: bytes) -> bytes:
    """A program whose batch size is code."""
    return edited(*SIZE, value=CODE)(content)


def archives(good: Members) -> Iterator[tuple[str, bytes]]:
    """Hostile archives by name, made of those members of a good one (a linear map and a ReLU)."""
    yield from _pickles(good)
    yield from _containers(good)
    for name, where, value in _texts():
        yield name, archive(replaced(good, JSON, edited(*where, value=value)))


def _pickles(good: Members) -> Iterator[tuple[str, bytes]]:
    evil = torch_pickle()
    objects = {"config": {"o": PAYLOAD}}
    opaque = {"config": {"o": {**PAYLOAD, "path_name": "opaque_obj_0"}}}
    tensor = {"config": {"o": {**PAYLOAD, "path_name": "tensor_0"}}}
    bare = pickle.dumps(Exploding())
    yield "sample inputs", archive(replaced(good, INPUTS, evil))
    yield "sample inputs with a capital suffix", archive(renamed(replaced(good, INPUTS, evil), INPUTS, INPUTS[:-2] + "PT"))  # fmt: skip
    yield "sample inputs in a capital folder", archive([("DATA/sample_inputs/model.pt", evil), *good])
    for word in (True, "yes", [1], {"a": 1}, 1):
        config = edited("config", "0.weight", "use_pickle", value=word)
        yield f"a weight pickled: {word}", archive(replaced(replaced(good, WEIGHTS, config), "data/weights/weight_0", evil))  # fmt: skip
    yield "a constant pickled", archive([*replaced(good, CONSTANTS, json.dumps(tensor).encode()), ("data/constants/tensor_0", evil)])  # fmt: skip
    yield "an object", archive([*replaced(good, CONSTANTS, json.dumps(objects).encode()), ("data/constants/custom_obj_0", evil)])  # fmt: skip
    yield "an opaque object", archive([*replaced(good, CONSTANTS, json.dumps(opaque).encode()), ("data/constants/opaque_obj_0", bare)])  # fmt: skip
    yield "legacy weights", archive([*good, ("data/weights/model.pt", evil)])
    yield "legacy weights with a capital suffix", archive([*good, ("data/weights/model.PT", evil)])
    yield "legacy constants", archive([*good, ("data/constants/model.pt", evil)])


def _containers(good: Members) -> Iterator[tuple[str, bytes]]:
    evil = replaced(good, INPUTS, torch_pickle())
    program = dict(good)[JSON]
    yield (
        "a program with another suffix",
        archive(renamed(replaced(good, JSON, evil_program), JSON, "models/model.jsom")),
    )
    yield "a second program with another suffix", archive([*good, ("models/model.jsom", evil_program(program))])
    yield "a second program", archive([*good, ("models/other.json", evil_program(program)), *_others(good)])
    yield "two members of one name", archive([*good, (INPUTS, torch_pickle())])
    yield "three members of one name, the last harmless", archive([(INPUTS, torch_pickle())] * 2 + good)
    yield "two programs of one name", archive([*good, (JSON, evil_program(program))])
    yield "two directories", with_two_directories(good, evil)
    yield "two directories, the other way round", with_two_directories(evil, good)
    yield "bytes before the archive", b"#!/bin/sh\n" + archive(evil)
    yield "an archive behind the archive", archive(good) + archive(evil)
    yield "a comment", archive(good)[:-2] + struct.pack("<H", 22) + archive([])
    yield "a library", archive([*good, ("data/aotinductor/model/model.so", b"\x7fELF")])
    yield "the layout of torch 2.7", archive(_legacy(program), "")
    yield "the layout of torch 2.7, beside the other", archive([*good, *_legacy(program)])


def _others(good: Members) -> Members:
    named = [(name.replace("/model", "/other"), content) for name, content in good if "/model" in name]
    return [(name, content) for name, content in named if not name.startswith("models/")]


def _legacy(program: bytes) -> Members:
    evil = torch_pickle()
    told = [("serialized_exported_program.json", program), ("version", b"8.20")]
    return [*told, *((f"serialized_{part}.pt", evil) for part in ("state_dict", "constants", "example_inputs"))]


def _texts() -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Texts of the program that torch looks up, evaluates or writes into source code."""
    for target in (
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.load_library",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.fbgemm_linear_int8_weight.default",
        "torch.ops.aten.max_pool2d_with_indices_backward.default",
        "torch.ops.aten.__class__.mro",
        "_operator.methodcaller",
        "_operator.attrgetter",
        "math.__loader__.load_module",
        "#namespace:operation",
    ):
        yield f"the operation {target}", (*NODE, "target"), target
    yield "an operation as an argument", (*NODE, "inputs", 0, "arg"), {"as_operator": "torch.os.system"}
    yield "an object as an argument", (*NODE, "inputs", 0, "arg"), {"as_custom_obj": {"name": "o", "class_fqn": "C"}}
    yield "objects in the graph", (*GRAPH, "custom_obj_values"), {"o": {"name": "o", "class_fqn": "C"}}
    for text in (
        CODE,
        f'FloorDiv("{CODE}", 2)',
        "Symbol.__init__",
        f"Symbol('s0', **{CODE})",
        f"Symbol('s0', positive={CODE})",
        f"[{CODE} for Symbol in [1]][0]",
        f"lambda: {CODE}",
        f"f'{{{CODE}}}'",
        f'Integer("{CODE}")',
        "Pow(Integer(10), Pow(Integer(10), Integer(10)))",
        "Pow(Pow(Pow(Integer(99), Integer(8)), Integer(8)), Integer(8))",
        "PowByNatural(Integer(10), Integer(10000000000))",
        "10**10**10",
    ):
        yield f"the size {text}", SIZE, text
    yield "a size of a value", (*GRAPH, "sym_int_values"), {"n": {"as_expr": {"expr_str": CODE, "hint": None}}}
    yield "a truth value", (*GRAPH, "sym_bool_values"), {"n": {"as_expr": {"expr_str": CODE, "hint": None}}}
    yield "a real value", (*GRAPH, "sym_float_values"), {"n": {"as_expr": {"expr_str": CODE, "hint": None}}}
    yield "a symbol", ("range_constraints",), {f"s0 {CODE}": {"min_val": 0, "max_val": 9}}
    yield "ten thousand million symbols", ("range_constraints",), {"u10000000000": {"min_val": 0, "max_val": 9}}
    yield "guards", ("guards_code",), [CODE, f"L['x'].size()[0] == {CODE}"]
    yield "the name of a node", (*NODE, "name"), f"x; {CODE}"
    yield "the name of an input", (*GRAPH, "inputs", 0), {"as_tensor": {"name": f"x={CODE}"}}
    yield "the name of an argument", (*NODE, "inputs", 0, "name"), f"x={CODE}, y"
    yield "the path of a parameter", ("graph_module", "signature", "input_specs", 0, "parameter", "parameter_name"), f'a"); {CODE}; ("'  # fmt: skip
    yield "a parameter of a class", ("graph_module", "signature", "input_specs", 0, "parameter", "parameter_name"), "__class__.forward"  # fmt: skip
    yield "the name of an argument of forward", (*CALL, "forward_arg_names"), [f"x={CODE}"]
    for kind, context in (
        ("collections.defaultdict", "null"),
        ("collections.namedtuple", json.dumps("os.system")),
        ("builtins.dict", json.dumps([{"__enum__": True, "fqn": "os:system", "name": "x"}])),
        ("builtins.dict", json.dumps([f"a': {CODE}, 'b"])),
    ):
        spec = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])
        yield f"a container {kind} {context}", (*CALL, "in_spec"), spec
    origin = {"source_fn_stack": "x,torch.os.system", "custom": "[" * 100_000, "from_node": f'[{{"name": "{CODE}"}}]'}
    yield "where a node comes from", (*NODE, "metadata"), origin
    yield "an entry that torch does not know", ("more",), CODE
    yield "a verifier", ("verifiers",), [CODE]
    yield "a device", (*GRAPH, "tensor_values", "input", "device", "type"), CODE
