"""Checks the files of deploy/ for clusters, without a cluster.

    python deploy/check.py [BINARY]

Kubernetes: kubectl (or kustomize) renders the base and every overlay, the schemas of kubernetes-validate check each
object, and the promises of docs/how-to/deploy-a-cluster.md are checked on what was rendered. Compose: files, variables and
references; HAProxy and promtool check their own files. With BINARY, `guerdon config check` reads the configurations.
Says what could not be checked, because a program is missing. Run by `make check-deploy`.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent
REPOSITORY = DEPLOY.parent
VERSIONS = ("1.31", "1.33")
CUSTOM = {"keda.sh/v1alpha1"}


def main():
    binary = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    check_kubernetes()
    check_compose()
    check_slurm()
    check_metrics()
    check_configurations(binary)
    print("ok")


def rendered(folder):
    """The objects of a kustomization; `None` without a program that renders it."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            built = subprocess.run([*command, folder], capture_output=True, text=True)
            assert built.returncode == 0, f"{folder}: {built.stderr}"
            assert not built.stderr.strip(), f"{folder}: {built.stderr}"
            return [found for found in yaml.safe_load_all(built.stdout) if found]
    return None


def check_kubernetes():
    folders = [DEPLOY / "kubernetes/base", *sorted((DEPLOY / "kubernetes/overlays").iterdir())]
    for folder in folders:
        name = folder.relative_to(DEPLOY)
        found = rendered(folder)
        if found is None:
            print(f"not rendered: {name}, because kubectl and kustomize are not installed; its files are checked as they are")
            files = (path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
            plain = [one for path in files for one in yaml.safe_load_all(path.read_text()) if one]
            check_schemas(name, [one for one in plain if "spec" not in one or "selector" not in one["spec"]])
            continue
        check_schemas(name, found)
        check_promises(name, found)
        print(f"ok: {name}, {len(found)} objects")
    for path in sorted((DEPLOY / "kubernetes/examples").glob("*.yaml")):
        found = [one for one in yaml.safe_load_all(path.read_text()) if one]
        check_schemas(path.name, found)
        for one in found:
            check_pod(path.name, one["spec"]["template"]["spec"])
        print(f"ok: {path.relative_to(DEPLOY)}")


def check_schemas(name, objects):
    for one in objects:
        if one.get("apiVersion") in CUSTOM:
            assert one["kind"] and one["metadata"]["name"] and one["spec"], one
            print(f"not checked by a schema: {one['kind']} of {name}")
            continue
        for version in VERSIONS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise AssertionError(f"{name}, {one['kind']} {one['metadata']['name']}: {error.message}") from error


def kinds(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def check_promises(name, objects):
    workloads = kinds(objects, "Deployment") + kinds(objects, "StatefulSet")
    for workload in workloads:
        spec = workload["spec"]["template"]["spec"]
        check_pod(name, spec)
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert matches(workload["spec"]["selector"]["matchLabels"], labels), name
        for container in spec["containers"]:
            for probe in ("readinessProbe", "livenessProbe"):
                assert probe in container, f"{name}: {container['name']} has no {probe}"
        covered = [p for p in kinds(objects, "NetworkPolicy") if matches(p["spec"]["podSelector"].get("matchLabels", {}), labels)]
        assert covered, f"{name}: no policy for {workload['metadata']['name']}"
    [server] = kinds(objects, "Deployment")
    spec = server["spec"]["template"]["spec"]
    labels = server["spec"]["template"]["metadata"]["labels"]
    [container] = spec["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", name
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", name
    drain = int(re.search(r'drain = "(\d+)s"', configuration(objects))[1])
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause + drain + 2 < spec["terminationGracePeriodSeconds"], "the drain has no time"
    assert "replicas" not in server["spec"] or not kinds(objects, "HorizontalPodAutoscaler"), name
    scalers = kinds(objects, "HorizontalPodAutoscaler") + kinds(objects, "ScaledObject")
    assert len(scalers) == (0 if "replicas" in server["spec"] else 1), f"{name}: {len(scalers)} autoscalers"
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == server["metadata"]["name"], name
    variables = {one["name"]: one.get("value") for one in container["env"]}
    if "GUERDON__CLUSTER__URL" in variables:
        most = max(scaler["spec"]["maxReplicas"] for scaler in scalers)
        assert int(variables["GUERDON__CLUSTER__REPLICAS_MAX"]) >= most, f"{name}: {most} replicas may run"
    [budget] = kinds(objects, "PodDisruptionBudget")
    for selector in (budget["spec"]["selector"]["matchLabels"], *(s["spec"]["selector"] for s in services(objects, labels))):
        assert selector and matches(selector, labels), f"{name}: {selector}"
    assert len(services(objects, labels)) == 2, name
    maps = {one["metadata"]["name"] for one in kinds(objects, "ConfigMap")}
    used = {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume}
    assert used <= maps, f"{name}: {used} of {maps}"


def services(objects, labels):
    return [one for one in kinds(objects, "Service") if matches(one["spec"]["selector"], labels)]


def matches(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def configuration(objects):
    [text] = [one["data"]["guerdon.toml"] for one in kinds(objects, "ConfigMap") if "guerdon.toml" in one["data"]]
    return text


def check_pod(name, spec):
    assert spec["automountServiceAccountToken"] is False, name
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, name
    assert context["seccompProfile"]["type"] == "RuntimeDefault", name
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False, name
        assert own["capabilities"]["drop"] == ["ALL"], name
        assert "memory" in container["resources"]["limits"], name
        assert ":" in container["image"] and not container["image"].endswith(":latest"), container["image"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claims = {one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", [])}
        assert mounted <= {volume["name"] for volume in spec.get("volumes", [])} | claims | {"data"}, name


def check_compose():
    folder = DEPLOY / "compose"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    services = compose["services"]
    assert {"guerdon-1", "guerdon-2", "balancer", "redis", "prometheus", "grafana"} <= set(services)
    for name, service in services.items():
        assert not service["image"].endswith(":latest"), name
        assert set(service.get("depends_on", [])) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                # The user writes the token.
                assert source == "./token" or (folder / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} listens on every address: {port}"
    for name in ("guerdon-1", "guerdon-2"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"], name
    balanced = set(re.findall(r"server (\S+) \1:8787", (folder / "haproxy.cfg").read_text()))
    [scraped] = yaml.safe_load((folder / "prometheus.yaml").read_text())["scrape_configs"]
    scraped = {target.split(":")[0] for target in scraped["static_configs"][0]["targets"]}
    assert balanced == scraped == {"guerdon-1", "guerdon-2"}
    has_docker = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    if has_docker:
        command = ["docker", "compose", "-f", folder / "compose.yaml", "config", "--quiet"]
        run = subprocess.run(command, env={"GUERDON_TOKEN": "x" * 16, "PATH": "/usr/bin:/bin:/usr/local/bin"}, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    else:
        print("not checked by docker compose, which is not installed: compose.yaml")
    checked("haproxy", ["haproxy", "-c", "-f", folder / "haproxy.cfg"])
    with tempfile.TemporaryDirectory() as name:
        # The files as the container has them.
        text = (folder / "prometheus.yaml").read_text().replace("/etc/prometheus", name)
        pathlib.Path(name, "prometheus.yml").write_text(text)
        pathlib.Path(name, "guerdon.token").write_text("x" * 16)
        shutil.copy(DEPLOY / "prometheus/alerts.yaml", name)
        checked("promtool", ["promtool", "check", "config", f"{name}/prometheus.yml"])
    print("ok: compose")


def checked(program, command):
    if not shutil.which(program):
        print(f"not checked by {program}, which is not installed")
        return
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, f"{program}: {run.stdout}{run.stderr}"
    print(f"ok: {program}")


def check_slurm():
    script = DEPLOY / "slurm/offline.sbatch"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    text = script.read_text()
    [last] = re.findall(r"--array=0-(\d+)\n", text)
    assert f"SHARDS:-{int(last) + 1}" in text, "the array and the number of shards differ"
    job = yaml.safe_load((DEPLOY / "kubernetes/examples/offline-job.yaml").read_text())
    shards = f"$(SHARD)/{job['spec']['completions']}"
    assert any(word.endswith(shards) for word in job["spec"]["template"]["spec"]["containers"][0]["args"])
    print("ok: slurm")


def check_metrics():
    known = (REPOSITORY / "docs/reference/metrics.md").read_text()
    text = (DEPLOY / "kubernetes/overlays/keda/scaledobject.yaml").read_text()
    for metric in re.findall(r"guerdon_\w+", text):
        assert f"`{metric}`" in known, f"the server has no metric {metric}"


def check_configurations(binary):
    rules = REPOSITORY / "crates/guerdon-cli/templates/hotel/rules/negotiation.yaml"
    base = DEPLOY / "kubernetes/base"
    assert (base / "rules.yaml").read_text() == rules.read_text(), "rules.yaml is not the pack of the template"
    if binary is None:
        print("not checked: guerdon.toml of the base; name the program")
        return
    run = subprocess.run(
        [binary, "config", "check", "--config", base / "guerdon.toml"],
        env={"GUERDON_TOKEN": "x" * 16, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    print("ok: guerdon config check")


if __name__ == "__main__":
    main()
