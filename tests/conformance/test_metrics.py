"""Every metric over error sums that ships passes the metric kit."""

from gate.core.status import Tier
from gate.metrics import elementwise
from gate.metrics.catalogue import CATALOGUE
from gate.testing.metric_kit import ElementwiseMetricKit


class TestRelativeMse(ElementwiseMetricKit):
    tier, name = Tier.NUMERICAL, "relative_mse"
    compute = staticmethod(elementwise.relative_mse_percent)


class TestSqnr(ElementwiseMetricKit):
    tier, name = Tier.NUMERICAL, "sqnr"
    compute = staticmethod(elementwise.sqnr_db)


class TestCosine(ElementwiseMetricKit):
    tier, name = Tier.NUMERICAL, "cosine"
    compute = staticmethod(elementwise.cosine)


class TestMaxAbsError(ElementwiseMetricKit):
    tier, name = Tier.NUMERICAL, "max_abs_error"
    compute = staticmethod(elementwise.max_abs_error)


class TestWorstChannelNmse(ElementwiseMetricKit):
    tier, name = Tier.LAYERS, "worst_channel_nmse"
    compute = staticmethod(elementwise.worst_channel_nmse_percent)


class TestBias(ElementwiseMetricKit):
    tier, name = Tier.LAYERS, "bias"
    compute = staticmethod(elementwise.bias_percent)


def test_every_elementwise_metric_has_a_class_here():
    tested = {kit.name for kit in ElementwiseMetricKit.__subclasses__()}
    assert tested == set(elementwise.BY_NAME)


def test_every_function_by_name_is_in_the_catalogue():
    assert set(elementwise.BY_NAME) <= {info.name for info in CATALOGUE}
