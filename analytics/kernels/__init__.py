"""The kernels that can be asked for. A new one is a file here and a line below: docs/calculations.md."""

from analytics.kernels import forecast, well
from analytics.kernels.declaration import Kernel

KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (well.KERNEL, forecast.KERNEL)}
