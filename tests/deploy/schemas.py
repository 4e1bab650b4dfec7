"""The parts of two custom resources that deploy/ uses, as JSON schemas.

Field names, types and allowed values are those of the operators' CustomResourceDefinitions (Apache-2.0):
kubeflow/mpi-operator, manifests/base/kubeflow.org_mpijobs.yaml (v2beta1), and kubeflow/training-operator,
manifests/base/crds/kubeflow.org_tfjobs.yaml (v1). The pods in them have Kubernetes' own schema.
"""

from __future__ import annotations

from typing import Any

_INTEGER: dict[str, Any] = {"type": "integer"}
_TEXT: dict[str, Any] = {"type": "string"}


def _fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


def _replicas(roles: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, Any]:
    replica = _fields(
        ("template",),
        replicas={"type": "integer", "minimum": 1},
        restartPolicy=_one_of("Always", "OnFailure", "Never", "ExitCode"),
        template=_fields(("spec",), metadata={"type": "object"}, spec={"type": "object"}),
    )
    return _fields(needed, **dict.fromkeys(roles, replica))


_RUN_POLICY = _fields(
    activeDeadlineSeconds=_INTEGER,
    backoffLimit=_INTEGER,
    cleanPodPolicy=_one_of("None", "Running", "All"),
    schedulingPolicy={"type": "object"},
    suspend={"type": "boolean"},
    ttlSecondsAfterFinished=_INTEGER,
)


def _resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _fields(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": f"kubeflow.org/{version}"},
        kind={"const": kind},
        metadata=_fields(("name",), name=_TEXT, namespace=_TEXT, labels={"type": "object"}),
        spec=spec,
    )


MPI_JOB = _resource(
    "v2beta1",
    "MPIJob",
    _fields(
        ("mpiReplicaSpecs",),
        launcherCreationPolicy=_one_of("AtStartup", "WaitForWorkersReady"),
        mpiImplementation=_one_of("OpenMPI", "Intel"),
        mpiReplicaSpecs=_replicas(("Launcher", "Worker"), ("Launcher",)),
        runPolicy=_RUN_POLICY,
        slotsPerWorker=_INTEGER,
        sshAuthMountPath=_TEXT,
    ),
)

TF_JOB = _resource(
    "v1",
    "TFJob",
    _fields(
        ("tfReplicaSpecs",),
        enableDynamicWorker={"type": "boolean"},
        runPolicy=_RUN_POLICY,
        successPolicy=_one_of("", "AllWorkers"),
        tfReplicaSpecs=_replicas(("Chief", "Master", "Worker", "PS", "Evaluator"), ("Worker",)),
    ),
)
