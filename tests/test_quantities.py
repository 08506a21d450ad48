"""Numbers in words."""

import pytest

from quire.quantities import counted, device_time, dollars, duration, rate


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (counted(0, "page"), "0 pages"),
        (counted(1, "shard"), "1 shard"),
        (counted(37_000, "page"), "37,000 pages"),
        (duration(48.6), "49 s"),
        (duration(846), "14 min"),
        (duration(5 * 3600), "5.0 h"),
        (duration(76 * 3600), "3.2 days"),
        (device_time(0, "core"), "0 core-seconds"),
        (device_time(4 / 3600, "core"), "4 core-seconds"),
        (device_time(59.9 / 3600, "core"), "60 core-seconds"),
        (device_time(0.04, "core"), "2.4 core-minutes"),
        (device_time(1.25, "GPU"), "1.2 GPU-hours"),
        (device_time(1200, "GPU"), "1,200 GPU-hours"),
        (dollars(0), "$0.00"),
        (dollars(0.0004), "under $0.01"),
        (dollars(1234.5), "$1,234.50"),
        (rate(0.025, "document"), "40 documents/s"),
        (rate(0.4, "page"), "2.5 pages/s"),
        (rate(4.2, "page"), "4.2 s/page"),
        (rate(23, "page"), "23 s/page"),
    ],
)
def test_a_number_is_never_nothing_and_has_its_unit(said: str, words: str) -> None:
    assert said == words
