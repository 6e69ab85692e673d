import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

from config.demo import development
from users.trail.acting import begin


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # Settings are read before any command runs, and only these commands may run without secrets.
    if sys.argv[1:2] in (["demo"], ["draw_secrets"]):
        os.environ["PLUMBLINE_DEMO"] = "1"
        if "--reload" in sys.argv:
            development.prepare(Path(__file__).resolve().parent)
    begin(f"manage.py {' '.join(sys.argv[1:2])}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
