"""How numba compiles netfold's passes: once in all processes, and no more of each than is called.

A pass that only other passes call needs no wrapper for Python and no machine code of its own: it is linked into theirs.
That is most of them. This file knows numba's insides as `caches` does; with a numba that is not known, passes are
compiled as any function of its users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import llvmlite.binding as llvm
from numba import jit
from numba.core import caching, compiler
from numba.core import dispatcher as dispatchers
from numba.core.codegen import JITCodeLibrary
from numba.core.registry import CPUDispatcher

from netfold.exact.numerics import ahead, caches, compiling

caches.install()


def dispatcher(options: dict[str, Any]) -> Callable[[Callable[..., Any]], Any]:
    """What turns a function into a pass that numba compiles when it is first called."""
    return (lambda function: Pass(function, options)) if caches.KNOWN else jit(cache=True, **options)


class Keeper(caching.FunctionCache):
    """Finds code in this machine's cache, or in what came with the package."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._travelled = caches.Travelled(self)

    def holds(self, arguments: Any, codegen: Any) -> bool:
        """Whether there is code for some types of arguments."""
        return self._index_key(arguments, codegen) in self._cache_file._load_index() or self._travelled.holds(arguments)

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super()._load_overload(sig, target_context)
        return self._travelled.load(sig, target_context) if found is None else found


class _Dispatcher(CPUDispatcher):
    _pipeline: Any = compiler.Compiler
    _keeper: type[Keeper] = Keeper

    def __init__(self, py_func: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(py_func, {}, options, self._pipeline)
        self._cache = self._keeper(py_func)
        self._compiler = _FunctionCompiler(py_func, self.targetdescr, options, {}, self._pipeline)

    def compile(self, sig: Any) -> Any:
        """The code for arguments of some types: this process's, another's, or new."""
        with caches.alone(self._cache._cache_file._index_name):
            return super().compile(sig)


class Pass(_Dispatcher):
    """What Python calls; passes that call it link the code of `inner`."""

    def __init__(self, py_func: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(py_func, options)
        self.inner = _Inner(py_func, options)

    def compile(self, sig: Any) -> Any:
        """The code for arguments of some types, with all that their verb needs where nothing is compiled yet."""
        with compiling.timed():
            ahead.share(self, sig)
            return super().compile(sig)

    @property
    def is_compiling(self) -> Any:
        """Whether a call to it is met in its own code."""
        return super().is_compiling or self.inner.is_compiling

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a caller is typed with."""
        return self.inner.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """What a caller's code finds the linked code by."""
        return self.inner.get_overload(sig)


class _Flags(compiler.Flags):
    """Numba's, which asks for all of them one by one whenever it looks for something."""

    _defaults: ClassVar = {name: option.default for name, option in compiler.Flags.options.items()}

    def values(self) -> dict[str, Any]:
        return {**self._defaults, **self._values}

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    __hash__ = compiler.Flags.__hash__


_Base: Any = vars(dispatchers)["_FunctionCompiler"]


class _FunctionCompiler(_Base):
    def _customize_flags(self, flags: Any) -> Any:
        return _Flags(flags)


class _Library(JITCodeLibrary):
    """Code that is there to be linked into other code."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _InnerCompiler(compiler.Compiler):
    def compile_extra(self, func: Any) -> Any:
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        self.state.library = _Library(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class _Key:
    """What a caller's code finds linked code by: numba takes the function that Python calls, and here is none."""


class _InnerKeeping(caching.CompileResultCacheImpl):
    """Bitcode alone is kept."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}.inner"

    def reduce(self, cres: Any) -> Any:
        cres.library._ensure_finalized()
        cres.fndesc.typemap = cres.fndesc.calltypes = None
        return cres.library.name, cres.library._get_module_for_linking().as_bitcode(), cres.fndesc, cres.signature

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        name, bitcode, fndesc, signature = payload
        library = _Library(target_context.codegen(), name)
        library._final_module = library._shared_module = llvm.parse_bitcode(bitcode)
        library._finalize_final_module()
        return compiler.compile_result(
            typing_context=target_context.typing_context,
            target_context=target_context,
            entry_point=_Key(),
            library=library,
            signature=signature,
            objectmode=False,
            lifted=(),
            fndesc=fndesc,
            reload_init=(),
        )


class _InnerCache(Keeper):
    _impl_class = _InnerKeeping


class _Inner(_Dispatcher):
    """What other passes call."""

    _pipeline, _keeper = _InnerCompiler, _InnerCache

    def add_overload(self, cres: Any) -> None:
        if cres.entry_point is None:
            cres = cres._replace(entry_point=_Key())
            self.targetctx.insert_user_function(cres.entry_point, cres.fndesc, [cres.library])
        self.overloads[tuple(cres.signature.args)] = cres
