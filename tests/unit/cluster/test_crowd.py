"""Who is there, by what they say of themselves."""

from __future__ import annotations

from cluster.crowd import SILENT, Crowd, Present


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_worker_that_says_nothing_any_more_is_gone() -> None:
    clock = Clock()
    crowd = Crowd(clock=clock)
    crowd.want("a")
    assert crowd.hear(Present("one", ("a",))) == ("a",)
    crowd.leave("a")
    assert crowd.hear(Present("one", ("a",))) == ()
    clock.now = SILENT - 1
    crowd.hear(Present("two", ()))
    assert [one.name for one in crowd.present] == ["one", "two"]
    clock.now = SILENT + 0.5
    assert [one.name for one in crowd.present] == ["two"]


def test_a_model_is_there_when_every_worker_holds_it() -> None:
    crowd = Crowd(clock=Clock())
    assert crowd.all_hold("a")
    crowd.hear(Present("one", ("a",)))
    crowd.hear(Present("two", (), {"a": "no such file"}))
    assert not crowd.all_hold("a")
    assert crowd.reason("a") == "no such file"
    crowd.hear(Present("two", ("a",)))
    assert crowd.all_hold("a")
    assert crowd.reason("a") is None


def test_one_that_comes_for_another_takes_its_place() -> None:
    clock, came = Clock(), list[str]()
    crowd = Crowd(clock=clock, came=came.append)
    for name in ("one", "two", "one"):
        crowd.hear(Present(name, ()))
    clock.now = SILENT
    crowd.hear(Present("two", ()))
    clock.now = SILENT + 1
    crowd.hear(Present("three", ()))
    assert came == ["0", "1", "0"]
    assert [crowd.place(name) for name in ("two", "three")] == ["1", "0"]
