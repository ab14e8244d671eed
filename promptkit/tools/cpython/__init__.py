"""Model-written programs run by CPython, each in a process that the Linux kernel jails."""
