"""The page of a running alarm: who gets in, and what is refused."""

from tests.helpers.page_world import page_world


def test_smoke(tmp_path):
    with page_world(tmp_path) as world:
        nobody = world.client("")
        assert nobody.get("/").status_code == 303
        assert nobody.get("/login").status_code == 200
        owner = world.client()
        print(owner.get("/access").text[:300])
        assert owner.get("/access").status_code == 200
        assert world.client("viewer").get("/access").status_code == 403
        assert world.bear()
