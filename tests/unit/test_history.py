"""history.csv: what is written comes back; what is damaged is named."""

import pytest

from cloudmask.errors import InputError
from cloudmask.record.history import Epoch, read_history, write_history


def test_epochs_come_back(tmp_path):
    path = tmp_path / "history.csv"
    epochs = [
        Epoch(1, 0.5, 0.75, 0.4, 0.8, 10.0, 8.0, 12.5, 0.25),
        Epoch(2, 0.25, 0.8, 0.3, 0.9, 9.0, 7.0, 14.25, 0.0),
    ]
    write_history(path, epochs)
    assert path.read_text().splitlines()[0] == (
        "epoch,loss,accuracy,val_loss,val_accuracy,seconds,"
        "train_seconds,patches_per_second,data_wait_fraction"
    )
    assert read_history(path) == epochs
    assert epochs[0].patches == 100


def test_an_older_history_lacks_the_rates(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,.5,.7,.4,.8,10\n")
    assert read_history(path) == [Epoch(1, 0.5, 0.7, 0.4, 0.8, 10.0)]
    assert read_history(path)[0].patches is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'epoch'"),
        ("epoch,loss\n1,2\n", "no column 'accuracy'"),
        ("epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,x,1,1,1,1\n", "line 2 is damaged"),
        ("epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1,1\n", "line 2 is damaged"),
    ],
)
def test_a_damaged_history_is_named(tmp_path, text, message):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_history(path)
    assert str(path) in str(caught.value)


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_history(tmp_path / "history.csv")
