"""A picture of any size becomes the views that its size asks for."""

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from quire.deepseek_vllm.images import views_of_image


@pytest.mark.parametrize(
    ("size", "num_tiles", "num_tokens"), [((1190, 1684), 6, 903), ((1600, 900), 2, 483), ((640, 640), 0, 273)]
)
def test_views_are_what_the_model_takes(size: tuple[int, int], num_tiles: int, num_tokens: int) -> None:
    page = views_of_image(Image.new("L", size, 200))
    page.check()
    assert (len(page.views) - 1, page.num_tokens) == (num_tiles, num_tokens)


def test_tiles_are_cut_row_by_row_and_the_whole_is_padded() -> None:
    quarters = np.kron(np.array([[10, 60], [110, 160], [210, 250]]), np.ones((640, 640)))
    page = views_of_image(Image.fromarray(quarters.astype(np.uint8)))
    assert [int(tile[320, 320, 0]) for tile in page.views[:-1]] == [10, 60, 110, 160, 210, 250]
    whole = page.views[-1]
    assert [int(whole[512, x, 1]) for x in (5, 300, 700, 1020)] == [127, 110, 160, 127]
