"""`python -m tests.infra.windows MODULE [ARGUMENT ...]`: a module's `main`, run as if on Windows.

`--all` in place of a module imports every module that is installed. What Facecrop's own modules
import is seen by them as Windows has it, as far as that can be had elsewhere: its platform is
"win32", modules and functions of POSIX alone are not there, and a process is started with what
Windows takes alone, and with the same view where it is one of ours. Paths, pipes and files stay
this system's, as do all other packages.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

THIS = "tests.infra.windows"
OURS = ("facecrop", "flows", "tasks", "pipeline", "detection", "storage", "intake", "deployments")
NEW_GROUP, NO_WINDOW = 0x200, 0x08000000

_NO_MODULES = frozenset(
    (
        *("_posixsubprocess", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource"),
        *("syslog", "termios", "tty", "uvloop"),
    )
)
# "Availability: Unix", as the library's documentation has it
_NO_NAMES = {
    "os": (
        "EX_OK F_LOCK O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC "
        "P_ALL P_PGID P_PID P_PIDFD RTLD_NOW SEEK_DATA SEEK_HOLE WCONTINUED WEXITED WNOHANG "
        "WEXITSTATUS WIFEXITED WIFSIGNALED WTERMSIG chown chroot confstr copy_file_range ctermid "
        "eventfd fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs get_blocking "
        "getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid "
        "getxattr initgroups killpg lchown lockf memfd_create mkfifo mknod nice openpty pathconf "
        "pidfd_open pipe2 posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev "
        "readv register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile "
        "set_blocking setegid seteuid setgid setpgid setpriority setsid setuid setxattr splice "
        "statvfs sync sysconf tcgetpgrp uname unshare wait wait3 wait4 waitid writev"
    ),
    "signal": (
        "ITIMER_REAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT "
        "SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer "
        "pause pidfd_send_signal pthread_kill pthread_sigmask setitimer siginterrupt sigpending "
        "sigtimedwait sigwait sigwaitinfo"
    ),
    "socket": "AF_UNIX CMSG_LEN CMSG_SPACE SCM_RIGHTS recv_fds send_fds",
    "select": "EPOLLIN EPOLLOUT POLLIN POLLOUT POLLHUP epoll poll",
    "mmap": "MAP_ANON MAP_ANONYMOUS MAP_PRIVATE MAP_SHARED PROT_READ PROT_WRITE",
    "time": "CLOCK_MONOTONIC CLOCK_REALTIME clock_gettime clock_getres pthread_getcpuclockid tzset",
    "errno": "EREMOTEIO",
    "sys": "abiflags getdlopenflags setdlopenflags",
    "subprocess": "",
    "ctypes": "",
}
_NOT_ON_WINDOWS = (
    *("preexec_fn", "start_new_session", "pass_fds", "process_group"),
    *("user", "group", "extra_groups", "umask"),
)


class _Seen(ModuleType):
    """A module of the standard library as Windows has it."""

    def __init__(self, real: ModuleType, hidden: frozenset[str], other: Mapping[str, Any]) -> None:
        super().__init__(real.__name__)
        vars(self).update(_real=real, _hidden=hidden, **other)

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}' on Windows")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


class _Popen(subprocess.Popen[Any]):
    """A process that is started with what Windows takes."""

    def __init__(self, command: Sequence[str], **named: Any) -> None:
        assert not set(named) & {*_NOT_ON_WINDOWS}, named
        named["creationflags"] = 0
        if "-m" in command:
            place = [*command].index("-m") + 1
            if command[place].partition(".")[0] in OURS:
                command = [*command[:place], THIS, *command[place:]]
        super().__init__(command, **named)


def _seen() -> dict[str, ModuleType]:
    other: dict[str, dict[str, Any]] = {
        "sys": {"platform": "win32"},
        "os": {"name": "nt", "O_BINARY": 0},
        "subprocess": {
            "Popen": _Popen,
            "CREATE_NEW_PROCESS_GROUP": NEW_GROUP,
            "CREATE_NO_WINDOW": NO_WINDOW,
        },
    }
    return {
        name: _Seen(importlib.import_module(name), frozenset(hidden.split()), other.get(name, {}))
        for name, hidden in _NO_NAMES.items()
    }


def _importer(seen: Mapping[str, ModuleType]) -> Callable[..., Any]:
    def imports(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        if level == 0 and name.partition(".")[0] in _NO_MODULES:
            raise ModuleNotFoundError(f"No module named '{name}' on Windows", name=name)
        if level == 0 and name in seen:
            return seen[name]
        return builtins.__import__(name, globals, locals, fromlist, level)

    return imports


class _Loader(SourceFileLoader):
    """Loads a module that sees Windows."""

    seen: Mapping[str, Any]

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _importer(self.seen)}
        super().exec_module(module)


class _Finder:
    """Finds Facecrop's own modules."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in OURS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def see_windows() -> None:
    """Have Facecrop's modules see Windows from here on; none may have been imported."""
    assert not {*OURS} & {*sys.modules}
    _Loader.seen = _seen()
    sys.meta_path.insert(0, _Finder)


def import_all() -> int:
    """Import every module; tell how many there are."""
    count = 0
    for package in OURS:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not found.name.endswith("__main__"):  # which runs when it is imported
                importlib.import_module(found.name)
                count += 1
    return count


if __name__ == "__main__":
    module = sys.argv.pop(1)
    see_windows()
    if module == "--all":
        print(import_all())
    else:
        sys.exit(importlib.import_module(module).main())
