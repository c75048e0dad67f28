"""ONNX Runtime passes the backend kit, for each way that a candidate can be written."""

from typing import ClassVar

import jsonschema
import pytest

from gate.core.artifact import Format
from gate.testing.backend_kit import BackendKit


class OnnxRuntimeKit(BackendKit):
    backend = "onnxruntime"
    quantizer = "onnxruntime-static"
    reference_format = Format.ONNX

    def threads_in_use(self, session):
        return session._session.get_session_options().intra_op_num_threads

    def test_unknown_level_is_refused_by_the_schema(self, plugin):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"graph_optimization": "most"}, plugin.options_schema)


class TestQdq(OnnxRuntimeKit):
    """Its defaults."""


class TestQOperator(OnnxRuntimeKit):
    quantizer_options: ClassVar = {"format": "QOperator"}


class TestDynamic(OnnxRuntimeKit):
    quantizer = "onnxruntime-dynamic"
