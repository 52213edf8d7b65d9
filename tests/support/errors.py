"""What the package says of files that it cannot use."""

import pytest

from cloudmask.errors import SceneError


def message(call, *args, **kwargs) -> str:
    """The one line of the SceneError that the call raises."""
    with pytest.raises(SceneError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
