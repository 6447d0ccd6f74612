"""What names in a pickle are: Python 2 spellings, what we know, what is dangerous."""

from __future__ import annotations

import _compat_pickle

from ckpt_viewer.unpickle.weights_only import ALLOWED

DANGEROUS_MODULES = frozenset(
    """os posix nt ntpath posixpath subprocess sys shutil socket ssl http urllib requests httpx aiohttp ftplib
    smtplib telnetlib webbrowser runpy importlib imp pkgutil zipimport pickle _pickle cPickle dill cloudpickle
    joblib marshal shelve code codeop pty platform ctypes cffi multiprocessing threading _thread asyncio
    concurrent signal gc inspect types tempfile pathlib.Path.unlink glob fileinput linecache timeit cProfile
    profile pdb bdb trace doctest unittest ensurepip pip setuptools distutils venv site builtins.__import__
    commands popen2 resource mmap fcntl""".split()
)
"""Top-level modules whose functions can run programs, load code or reach the network. Only a label: nothing runs."""

DANGEROUS_NAMES = frozenset(
    """builtins.eval builtins.exec builtins.compile builtins.open builtins.getattr builtins.setattr builtins.delattr
    builtins.__import__ builtins.globals builtins.locals builtins.vars builtins.input builtins.breakpoint
    builtins.map builtins.filter builtins.apply builtins.execfile builtins.dir builtins.help builtins.memoryview
    copyreg.add_extension copyreg.pickle copyreg.constructor
    operator.attrgetter operator.methodcaller operator.itemgetter functools.reduce _io.open io.open io.FileIO
    _io.FileIO io.open_code codecs.open torch.load torch.jit.load torch.hub.load
    torch.hub.load_state_dict_from_url torch.package.PackageImporter torch.utils.cpp_extension.load
    torch.utils.cpp_extension.load_inline torch.ops.load_library torch.classes.load_library
    torch.storage.torch.load torch.serialization.load numpy.load numpy.loadtxt numpy.genfromtxt numpy.f2py
    numpy.testing._private.utils.runstring numpy.distutils.exec_command.exec_command torch.distributed.rpc
    torch.save torch.serialization.save torch._dynamo torch._inductor.codecache.compile_file
    torch.utils.collect_env.run torch.utils.bottleneck.__main__.run_cprofile
    torch.fx.graph_module.reduce_graph_module
    torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression""".split()
)
"""Single names of the same sort inside modules that are otherwise harmless."""

OPEN_ENDED = frozenset({"_codecs.encode", "torch.storage._load_from_bytes"})
"""What these make depends on what they are given (any codec, a whole nested stream), so they are never called known."""

SAFE_EXCEPTIONS = frozenset(
    """pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath pathlib.Path
    types.SimpleNamespace inspect.Signature inspect.Parameter""".split()
)


def translate_python2(module: str, name: str) -> tuple[str, str]:
    """Return the Python 3 spelling of a name in a pickle of protocol 0 to 2."""
    mapped = _compat_pickle.NAME_MAPPING.get((module, name))
    if mapped is not None:
        return mapped
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def status_of(module: str, name: str, known: bool) -> str:
    """Return ``known``, ``unknown`` or ``dangerous``.

    Args:
        known: whether a recipe of ours describes what the name makes.
    """
    qualified = f"{module}.{name}"
    if qualified in OPEN_ENDED:
        return "unknown"
    if (known and qualified not in DANGEROUS_NAMES) or qualified in ALLOWED:
        return "known"
    if qualified in SAFE_EXCEPTIONS:
        return "unknown"
    # a dotted name reaches through attributes: os.system can be spelled ("torch.serialization", "os.system")
    steps = qualified.split(".")
    if qualified in DANGEROUS_NAMES or any(".".join(steps[:n]) in DANGEROUS_NAMES for n in range(2, len(steps))):
        return "dangerous"
    inner = set(name.split(".")[:-1]) if "." in name else set()
    if steps[0] in DANGEROUS_MODULES or inner & DANGEROUS_MODULES:
        return "dangerous"
    return "unknown"
