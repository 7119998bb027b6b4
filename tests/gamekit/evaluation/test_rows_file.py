"""The rows file goes on with one evaluation, and with no other."""

from __future__ import annotations

from agent.commands import evaluate
from gamekit.evaluation.rows import Row
from gamekit.evaluation.rows_file import RowsFile
from gamekit.registry import load_domain
from mallocgame.domain import MallocGame
from mallocgame.game.options import GAME_VERSION
from tests.support.evaluations import NAME, OTHER, command, one_line


def test_another_configuration_is_refused(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "out"
    assert (
        evaluate.main(command(folder, "--mappers", "production,local_search", "--budget", "0")) == 0
    )
    (folder / "results.json").unlink()  # as if it had been interrupted
    for more, message in (
        (
            ["--mappers", "production"],
            "was made with mappers production,local_search, not production",
        ),
        (["--mappers", "production,local_search", "--seeds", "3"], "was made with seeds 0, not 3"),
    ):
        capsys.readouterr()
        assert evaluate.main(command(folder, "--budget", "0", *more)) == 2
        one_line(capsys, message)
    with monkeypatch.context() as patch:
        patch.setattr(MallocGame, "version", GAME_VERSION + 1)
        again = command(folder, "--mappers", "production,local_search", "--budget", "0")
        assert evaluate.main(again) == 2
    one_line(capsys, f"was made with game {GAME_VERSION}, not {GAME_VERSION + 1}")
    other = command(folder, "--mappers", "production,local_search", "--budget", "0")
    other[1] = f"tpu_v4_sample/{OTHER}"
    assert evaluate.main(other) == 2
    one_line(capsys, f"was made with another programs: {NAME}, {OTHER}")
    (folder / "rows.jsonl").write_text("no rows\n")
    assert (
        evaluate.main(command(folder, "--mappers", "production,local_search", "--budget", "0")) == 2
    )
    one_line(capsys, "line 1 is damaged")


def test_a_torn_line_is_cut_off_and_whole_rows_stay(tmp_path):
    domain, configuration = load_domain("gamekit.probe:DOMAIN"), {"seeds": [0]}
    row = Row("trap", "f", "random", None, 0, score=0.5, valid=True, figures={"extra": 1})
    file = RowsFile(domain, tmp_path, configuration)
    file.add(row)
    file.close()
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"instance": "tr')
    again = RowsFile(domain, tmp_path, configuration)
    assert again.found == {row.key: row}
    again.close()
    assert file.path.read_bytes() == whole
