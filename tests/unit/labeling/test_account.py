from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from goldloop.labeling.account import account


def test_an_account_is_made_once_and_kept_where_only_the_user_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "label-studio"
    first = account(folder)
    assert account(folder) == first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()] == [
        ("secrets.json", 0o600)
    ]


def test_two_folders_have_different_secrets(tmp_path: Path) -> None:
    one, two = account(tmp_path / "one"), account(tmp_path / "two")
    assert one.token != two.token
    assert one.login.password != two.login.password


def test_all_who_make_it_at_once_read_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        accounts = list(threads.map(account, [tmp_path / "label-studio"] * 16))
    assert len({made.token.get_secret_value() for made in accounts}) == 1


def test_neither_its_text_form_nor_a_redacted_log_tells_a_secret(tmp_path: Path) -> None:
    made = account(tmp_path)
    password, token = made.login.password.get_secret_value(), made.token.get_secret_value()
    for text in (repr(made), made.redacted(f"password={password} token={token}")):
        assert password not in text
        assert token not in text
