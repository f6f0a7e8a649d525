#!/usr/bin/env bash
# Makes MLflow's databases once, so that a test server starts on copies of them
# and need not run a hundred migrations first: ready/db.sqlite (tracking and
# registry) and ready/auth.sqlite (users and grants, without a user yet).
set -euo pipefail

python=$1/bin/python
ready=$1/ready
export MLFLOW_DISABLE_TELEMETRY=true
mkdir "$ready"
"$python" -c '
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore("sqlite:///" + sys.argv[1] + "/db.sqlite", "mlflow-artifacts:/")
' "$ready"
"$python" -m mlflow.server.auth db upgrade --url "sqlite:///$ready/auth.sqlite"
