from ottla.model.steps import Steps, at_once


def test_all_steps_are_done_and_what_they_came_to_is_returned() -> None:
    done: list[int] = []

    def steps() -> Steps[str]:
        for number in range(3):
            done.append(number)
            yield
        return "all"

    assert at_once(steps()) == "all"
    assert done == [0, 1, 2]
