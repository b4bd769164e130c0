from support.lab import Lab


def test_it_tells_what_the_clock_of_the_server_says(lab: Lab) -> None:
    started = lab.now_ms()
    code, now = lab.run(lab.time())
    assert (code, started <= int(now) <= lab.now_ms()) == ("OK", True)
    assert lab.names() == set()
