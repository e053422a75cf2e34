"""Singular forms of class names."""

from __future__ import annotations

import pytest

from sgovss import paths
from sgovss.data.specification_file import load_specification
from sgovss.plurals import singular

PAIRS = """
building buildings, car cars, tree trees, house houses, warehouse warehouses, greenhouse greenhouses, golf_course
golf_courses, roof roofs, cliff cliffs, road roads, bridge bridges, vehicle vehicles, plane planes, storage_tank
storage_tanks, tennis_court tennis_courts, box boxes, bush bushes, marsh marshes, ditch ditches, beach beaches,
church churches, bench benches, grass grasses, class classes, pass passes, city cities, factory factories,
cemetery cemeteries, ferry ferries, quay quays, valley valleys, pier piers, prairie prairies, leaf leaves, life lives,
wharf wharves, grove groves, cave caves, wave waves, olive olives, bus buses, minibus minibuses, gas gases,
campus campuses, cactus cactuses, oasis oases, person people, man men, woman women, child children, photo photos,
silo silos, volcano volcanoes, tomato tomatoes, canoe canoes, floe floes, taxi taxis, person persons, size sizes,
surface surfaces, villa villas, solar_panel solar_panels, residence residences, base bases, a320 a320s
"""
SINGULAR_ALREADY = """
grass glass class gas bus campus cactus tennis debris oasis canvas species chassis moss wilderness_pass moving_car
tree water sea pass field_of_grass traffic_headquarters water_works us as s
"""


@pytest.mark.parametrize("pair", [pair.split() for pair in PAIRS.split(",")], ids=" ".join)
def test_plural_and_singular_are_one(pair):
    one, many = (name.replace("_", " ") for name in pair)
    assert singular(many) == one
    assert singular(one) == one


@pytest.mark.parametrize("name", SINGULAR_ALREADY.split())
def test_a_singular_stays(name):
    assert singular(name.replace("_", " ")) == name.replace("_", " ")


def test_only_the_last_word_is_inflected():
    assert singular("sports courts") == "sports court"
    assert singular("trees and roads") == "trees and road"
    assert singular("") == ""


def test_no_two_classes_of_a_shipped_dataset_differ_by_number_only():
    for path in paths.dataset_files():
        vocabulary = load_specification(path).vocabulary
        owners = {singular(name.lower()): entry.name for entry in vocabulary for name in entry.names}
        assert all(owners[singular(name.lower())] == entry.name for entry in vocabulary for name in entry.names), path
