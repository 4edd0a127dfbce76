"""The deployments of Facecrop's flows, and the versions that they were made with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from intake.cli.checks.check import REGISTER, Check
from intake.cli.checks.server import VERSION
from intake.control.filters import PAGE, of_flows

_FLOWS = ("crop-archive", "crop-shard")


def deployments(client: SyncPrefectClient) -> Iterator[Check]:
    """Whether each flow has one, and all are of the versions that are installed here."""
    found: list[DeploymentResponse] = []
    for flow in _FLOWS:
        there = client.read_deployments(flow_filter=of_flows(flow), limit=PAGE)
        found += there
        name = f"deployments {flow}/*"
        if there:
            yield Check(name, "ok", ", ".join(sorted(one.name for one in there)))
        else:
            yield Check(name, "bad", "there is none", REGISTER)
    yield _same_packages(found)


def _same_packages(deployments: list[DeploymentResponse]) -> Check:
    """Whether the deployments were made with the packages that are installed here."""
    name = "deployed versions"
    here = {package: version(package) for package in ("facecrop", "prefect")}
    recorded = {
        (package, one)
        for deployment in deployments
        for package, one in _recorded(deployment.version, deployment.tags).items()
        if package in here
    }
    local = ", ".join(f"{package} {one}" for package, one in here.items())
    other = sorted(f"{package} {one}" for package, one in recorded if one != here[package])
    if other:
        fix = f"{REGISTER} where the newer version is"
        return Check(name, "bad", f"{local} here, but {', '.join(other)} deployed", fix)
    if recorded:
        return Check(name, "ok", f"{local} here, and deployed")
    return Check(name, "-", f"{local} here; the deployments record none")


def _recorded(stated: str | None, tags: list[str]) -> dict[str, str]:
    """Versions by package, of a deployment's version and of its tags such as `prefect==3.9.1`."""
    found = {"facecrop": stated} if stated and VERSION.fullmatch(stated) else {}
    tagged = (tag.partition("==") for tag in tags)
    return found | {package: one for package, equal, one in tagged if equal}
