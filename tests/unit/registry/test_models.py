from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from goldloop.errors import GateRefused, ModelError
from goldloop.inference import Predictor
from goldloop.registry.models import Registry

from .conftest import PASSED, REFUSED
