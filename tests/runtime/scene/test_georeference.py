from __future__ import annotations

import pytest
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.georeference import Georeference, georeference_from_envi, unpack_georeference

TRANSFORM = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_500_000.0)
UTM = ["UTM", "1", "1", "500000", "4500000", "30", "30", "33", "North", "WGS-84", "units=Meters"]


@pytest.mark.parametrize("crs", ["", "EPSG:32633", "ESRI:54030", 'GEOGCS["WGS 84",DATUM["x"]]', "PROJCRS[\n]"])
def test_codes_and_wkt_travel(crs: str) -> None:
    georeference = Georeference(transform=TRANSFORM, crs=crs)
    assert unpack_georeference(georeference.pack()) == georeference


@pytest.mark.parametrize(
    "crs",
    ["/etc/passwd", "http://127.0.0.1/secret", "+init=epsg:4326", "+proj=longlat", '{"type":"x"}', "WGS84", "a.prj"],
)
def test_what_a_library_would_look_up_is_refused(crs: str) -> None:
    with pytest.raises(ValueError, match="neither a code nor WKT"):
        Georeference(transform=TRANSFORM, crs=crs)
    forged = Georeference(transform=TRANSFORM).pack() + crs.encode()
    with pytest.raises(DecodeError, match="neither a code nor WKT"):
        unpack_georeference(forged)


def test_map_info_that_is_not_understood_is_no_georeference() -> None:
    understood = georeference_from_envi(UTM, "")
    assert understood is not None
    assert understood.crs == "EPSG:32633"
    for position, entry in ((7, "33N"), (7, "99"), (8, "N"), (3, "nan"), (10, "rotation=abc")):
        assert georeference_from_envi([*UTM[:position], entry, *UTM[position + 1 :]], "") is None
