import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.installation.cluster import ACCOUNT, Cluster, ClusterError, draw_in
from config.installation.folder import UnusableSecret, draw_into


class Command(BaseCommand):
    help = "Draw the secrets of a new portal into the folder SECRETS or into Kubernetes; existing ones stay."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--kubernetes", action="store_true", help="as secrets of the namespace that this pod is in"
        )
        parser.add_argument("--account", type=Path, default=ACCOUNT, help="folder of the service account")

    def handle(self, *, kubernetes: bool, account: Path, **_: Any) -> None:
        try:
            drawn = draw_in(cluster_of_pod(account)) if kubernetes else draw_into(folder(), os.environ)
        except (ClusterError, UnusableSecret, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Changed: {', '.join(drawn)}." if drawn else "All secrets are there already.")


def folder() -> Path:
    if not settings.SECRETS:
        raise CommandError("Set SECRETS to the folder of the secrets.")
    return Path(settings.SECRETS)


def cluster_of_pod(account: Path) -> Cluster:
    try:
        # Kubernetes sets these in every pod.
        return Cluster(
            os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]), account
        )
    except (KeyError, ValueError) as error:
        raise CommandError("--kubernetes works in a pod of Kubernetes only.") from error
