"""Label Studio's regions of poses, where they are not what the editor sends."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from goldloop.errors import AnnotationError
from goldloop.records import Item
from goldloop.tasks._pose_regions import decode_poses, encode_poses, pose_tags

NAMES = ("nose", "tail")


@pytest.fixture
def item():
    return Item(
        key="k", modality="image", uri="u", group="g", source="0:files", media_type="image/png",
        width=300, height=200,
    )  # fmt: skip


def pose(x=20.0, visibility=2):
    point = {"name": "nose", "x": 30.0, "y": 40.0, "visibility": visibility}
    return {"label": "dog", "x": x, "y": 30.0, "width": 80.0, "height": 60.0, "points": [point]}


def decoded(regions, item):
    return decode_poses(regions, item, lambda names, where: names[0], lambda label: NAMES)


@pytest.mark.parametrize("parent", [["x"], {"id": "x"}, 7, "x"])
def test_a_group_that_is_no_box_is_named(item, parent):
    box, point = encode_poses([pose()], item)

    with pytest.raises(AnnotationError, match="grouped with something that is no box") as caught:
        decoded([box, {**point, "parentID": parent}], item)

    assert f"item k, region {point['id']}" in str(caught.value)


@pytest.mark.parametrize("parent", [None, ""])
def test_no_group_leaves_the_box_around_the_point(item, parent):
    box, point = encode_poses([pose()], item)

    assert decoded([box, {**point, "parentID": parent}], item) == [pose()]


def test_a_choice_whose_point_was_deleted_is_named(item):
    box, _, choice = encode_poses([pose(visibility=1)], item)

    with pytest.raises(AnnotationError, match="only a point can be occluded"):
        decoded([box, choice], item)


def test_a_choice_that_was_taken_back_leaves_the_point_visible(item):
    box, point, choice = encode_poses([pose(visibility=1)], item)
    taken_back = {**choice, "value": {**choice["value"], "choices": []}}

    assert decoded([box, point, choice], item) == [pose(visibility=1)]
    assert decoded([box, point, taken_back], item) == [pose()]


def test_two_boxes_in_one_place_need_groups(item):
    result = encode_poses([pose(), {**pose(), "points": []}], item)
    ungrouped = [{name: field for name, field in each.items() if name != "parentID"} for each in result]

    assert sorted(len(each["points"]) for each in decoded(result, item)) == [0, 1]
    with pytest.raises(AnnotationError, match="could belong to several boxes"):
        decoded(ungrouped, item)


def test_only_points_can_be_marked_as_occluded_in_the_editor():
    (choices,) = ElementTree.fromstring("\n".join(["<View>", *pose_tags(["dog"], NAMES), "</View>"])).iter(
        "Choices"
    )

    assert choices.get("perRegion") == "true"
    assert (choices.get("visibleWhen"), choices.get("whenTagName")) == ("region-selected", "point")
