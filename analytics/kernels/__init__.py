"""The table of kernels. A new kernel is a file here and a line below; see declaration.py."""

from analytics.kernels import forecast, well
from analytics.kernels.declaration import Kernel

KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (well.KERNEL, forecast.KERNEL)}
