"""The table of kernels. A new kernel is a file in this folder, imported here and added to KERNELS."""

from analytics.kernels import forecast, well
from analytics.kernels.declaration import Kernel

KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (well.KERNEL, forecast.KERNEL)}
