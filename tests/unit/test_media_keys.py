from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

from goldloop.media_keys import MediaKeys


def test_a_key_is_made_once_whoever_asks_and_is_for_the_user_alone(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: MediaKeys(tmp_path / "keys").of("pets"), range(32)))
    assert len(found) == 1
    assert stat.S_IMODE((tmp_path / "keys" / "pets").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["pets"]


def test_each_recipe_has_its_own_and_a_renewed_one_holds_at_once(tmp_path):
    keys, elsewhere = MediaKeys(tmp_path), MediaKeys(tmp_path)
    first = keys.of("pets")
    assert keys.of("signs") != first
    renewed = keys.renew("pets")
    assert renewed.id != first.id
    assert renewed.secret != first.secret
    assert elsewhere.find("pets") == renewed


def test_no_name_leads_out_of_the_folder(tmp_path):
    (tmp_path / "outside").write_text("id secret")
    keys = MediaKeys(tmp_path / "keys")
    keys.of("pets")
    assert [keys.find(name) for name in ("../outside", "", ".", "none")] == [None] * 4


def test_the_secret_is_in_no_text_of_a_key(tmp_path):
    key = MediaKeys(tmp_path).of("pets")
    assert key.secret not in repr(key)
