# What people do with a registry, by MLflow's own client. Each function is an act
# of the tests; acts_test.go has the same acts as the client sends them.
import os
import sqlite3
import tempfile

import mlflow
import pandas
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag


def _file(name, text):
    path = os.path.join(tempfile.mkdtemp(), name)
    with open(path, "wb") as f:
        f.write(text.encode("latin-1"))
    return path


# Models and their versions.


def create_model(name, description=None):
    MlflowClient().create_registered_model(name, description=description)


def describe_model(name, description):
    MlflowClient().update_registered_model(name, description=description)


def tag_model(name, key, value):
    MlflowClient().set_registered_model_tag(name, key, value)


def untag_model(name, key):
    MlflowClient().delete_registered_model_tag(name, key)


def rename_model(name, new_name):
    MlflowClient().rename_registered_model(name, new_name)


def delete_model(name):
    MlflowClient().delete_registered_model(name)


def create_version(name, source, run=None):
    return MlflowClient().create_model_version(name, source, run_id=run).version


def register(name, run):
    return mlflow.register_model(f"runs:/{run}/model", name).version


def describe_version(name, version, description):
    MlflowClient().update_model_version(name, version, description)


def tag_version(name, version, key, value):
    MlflowClient().set_model_version_tag(name, version, key, value)


def untag_version(name, version, key):
    MlflowClient().delete_model_version_tag(name, version, key)


def stage_version(name, version, stage):
    MlflowClient().transition_model_version_stage(name, version, stage)


def delete_version(name, version):
    MlflowClient().delete_model_version(name, version)


def set_alias(name, alias, version):
    MlflowClient().set_registered_model_alias(name, alias, version)


def delete_alias(name, alias):
    MlflowClient().delete_registered_model_alias(name, alias)


def register_prompt(name, template):
    mlflow.register_prompt(name, template) if hasattr(mlflow, "register_prompt") else mlflow.genai.register_prompt(name, template)


# The database behind the server: nothing else changes such things.


def edit_version(database, name, version, column, value):
    with sqlite3.connect(database) as db:
        changed = db.execute(f"UPDATE model_versions SET {column} = ? WHERE name = ? AND version = ?", (value, name, int(version)))
        assert changed.rowcount == 1
    db.close()


def purge_run(database, run):
    with sqlite3.connect(database) as db:
        for table in ("latest_metrics", "metrics", "params", "tags", "runs"):
            db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run,))
    db.close()


# Experiments and runs.


def create_experiment(name):
    return MlflowClient().create_experiment(name)


def rename_experiment(experiment, new_name):
    MlflowClient().rename_experiment(experiment, new_name)


def tag_experiment(experiment, key, value):
    MlflowClient().set_experiment_tag(experiment, key, value)


def untag_experiment(experiment, key):
    MlflowClient().delete_experiment_tag(experiment, key)


def delete_experiment(experiment):
    MlflowClient().delete_experiment(experiment)


def restore_experiment(experiment):
    MlflowClient().restore_experiment(experiment)


def start_run(experiment, tags=None):
    with mlflow.start_run(experiment_id=experiment, tags=tags) as run:
        pass
    MlflowClient().update_run(run.info.run_id, status="RUNNING")
    return run.info.run_id


def train(experiment, auc, digest, weights, tags=None):
    with mlflow.start_run(experiment_id=experiment, tags=tags) as run:
        data = mlflow.data.from_pandas(pandas.DataFrame({"a": [1]}), source="s3://lake/customers", name="customers", digest=digest)
        mlflow.log_input(data, context="training")
        mlflow.log_param("depth", 3)
        mlflow.log_metric("auc", auc, step=0)
        mlflow.log_artifact(_file("model.pkl", weights), "model")
        mlflow.log_artifact(_file("MLmodel", "flavors: {}\n"), "model")
    return run.info.run_id


def log_metric(run, key, value, step=1):
    MlflowClient().log_metric(run, key, value, step=step)


def log_param(run, key, value):
    MlflowClient().log_param(run, key, value)


def tag_run(run, key, value):
    MlflowClient().set_tag(run, key, value)


def untag_run(run, key):
    MlflowClient().delete_tag(run, key)


def rename_run(run, new_name):
    MlflowClient().update_run(run, name=new_name)


def reopen_run(run):
    MlflowClient().update_run(run, status="RUNNING")


def end_run(run, end_time=None):
    MlflowClient().set_terminated(run, end_time=end_time)


def log_input(run, name, digest):
    data = mlflow.data.from_pandas(pandas.DataFrame({"a": [1]}), source="s3://lake/" + name, name=name, digest=digest)
    MlflowClient().log_inputs(run, [DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])])


def delete_run(run):
    MlflowClient().delete_run(run)


def restore_run(run):
    MlflowClient().restore_run(run)


def log_artifact(run, name, text):
    MlflowClient().log_artifact(run, _file(name, text), "model")


def delete_artifact(run, path):
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(MlflowClient().get_run(run).info.artifact_uri).delete_artifacts(path)


def read_artifact(run, path):
    mlflow.artifacts.download_artifacts(run_id=run, artifact_path=path)


# Logged models (3.x).


def create_logged_model(experiment, run, name):
    return MlflowClient().create_logged_model(experiment, name=name, source_run_id=run).model_id


def tag_logged_model(model, key, value):
    MlflowClient().set_logged_model_tags(model, {key: value})


def untag_logged_model(model, key):
    MlflowClient().delete_logged_model_tag(model, key)


def finalize_logged_model(model):
    MlflowClient().finalize_logged_model(model, "READY")


def delete_logged_model(model):
    MlflowClient().delete_logged_model(model)


def log_model(experiment, name, registered=None):
    """Trains and registers as most do: in one call."""

    class Constant(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return 1

    with mlflow.start_run(experiment_id=experiment) as run:
        info = mlflow.pyfunc.log_model(name=name, python_model=Constant(), pip_requirements=[], registered_model_name=registered)
    return [run.info.run_id, info.model_id]


# People and what they may do.


def _access():
    from mlflow.server.auth.client import AuthServiceClient

    return AuthServiceClient(mlflow.get_tracking_uri())


def create_user(user, password):
    _access().create_user(user, password)


def set_admin(user, admin):
    _access().update_user_admin(user, admin)


def delete_user(user):
    _access().delete_user(user)


def grant(user, model, permission):
    if hasattr(_access(), "grant_user_permission"):
        _access().grant_user_permission(user, "registered_model", model, permission)
    else:
        _access().create_registered_model_permission(model, user, permission)


def change_grant(user, model, permission):
    if hasattr(_access(), "grant_user_permission"):
        revoke(user, model)
        grant(user, model, permission)
    else:
        _access().update_registered_model_permission(model, user, permission)


def revoke(user, model):
    if hasattr(_access(), "revoke_user_permission"):
        _access().revoke_user_permission(user, "registered_model", model)
    else:
        _access().delete_registered_model_permission(model, user)


# What 3.x has besides.


def create_workspace(name):
    MlflowClient().create_workspace(name)


def enter_workspace(name):
    mlflow.set_workspace(name)


def create_webhook(name, url, secret, events):
    return MlflowClient().create_webhook(name, url, events, secret=secret).webhook_id
