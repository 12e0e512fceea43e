"""Entry points that metadata alone rules out, and extensions and extras without what they need."""

from plugins.misfit import offering, service, surface

NAMES = [
    surface("badkey", "services", "Bad Key", offering("bad:key"), "'Bad Key' is no service key"),
    service("badreference", "", "its metadata names no module", reference="not a module!"),
    surface("badplugin", "requests", "Bad Plugin", "", "'Bad Plugin' is no plugin name"),
    surface("hostname", "requests", "nocohost", "", "the name nocohost belongs to the host"),
    surface("badextension", "extensions", "neighbour:work", "", "names no extension"),
    service("twin", offering("twin:work"), r"twin:work is offered by misfit-twin 1\.0 and by misfit-twintwo 1\.0"),
    surface(
        "twintwo",
        "services",
        "twin:work",
        offering("twin:work"),
        r"twin:work is offered by misfit-twin 1\.0 and by misfit-twintwo",
    ),
    surface(
        "sameplugin",
        "requests",
        "same",
        "",
        r"the name same in nocohost.requests is used by misfit-sameplugin 1\.0 and",
    ),
    surface("sameplugintwo", "requests", "same", "", "used by misfit-sameplugin 1.0 and by misfit-sameplugintwo 1.0"),
    surface(
        "samedeclared",
        "declarations",
        "samedeclared",
        "",
        "the name samedeclared in .* used by .* and by misfit-samedeclaredtwo",
    ),
    surface("samedeclaredtwo", "declarations", "samedeclared", "", "used by misfit-samedeclared 1.0 and by"),
    surface(
        "across", "declarations", "across-name", "", "the plugin name across.name is used by misfit-across 1.0 and by"
    ),
    surface("acrosstwo", "requests", "across_name", "", "is used by misfit-across 1.0 and by misfit-acrosstwo 1.0"),
]
EXTENDING = [
    surface(
        "nokey",
        "extensions",
        "nobody:offers/x",
        "",
        "no installed plugin offers the service key nobody:offers",
        "disabled",
    ),
    surface(
        "unpublished",
        "extensions",
        "neighbour:work/unpublished",
        "@hookimpl\ndef paint_the_fence(app): ...",
        "no installed plugin publishes the hook paint_the_fence",
        "disabled",
    ),
    surface(
        "misspeltpublished",
        "extensions",
        "neighbour:work/misspelt",
        "@hookimpl\ndef neighbour_greting(name): ...",
        "did you mean neighbour_greeting",
    ),
    surface(
        "extargument",
        "extensions",
        "neighbour:work/argument",
        "@hookimpl\ndef neighbour_greeting(nam): ...",
        "did you mean 'name'",
    ),
    surface("exthookless", "extensions", "neighbour:work/none", "", "implements no hook"),
    service(
        "extended",
        "raise RuntimeError('the service')",
        "the service",
        others={"extensions": {"extended:work/own": "{}.own"}},
        more={
            ("extensions", "extended:work/own"): (
                "quarantined",
                "its service .*extended:work.* is quarantined: .*the service",
            )
        },
    ),
    service(
        "extraentry",
        offering("extraentry:work"),
        r"no-such-library>=2 is not installed \(pip install 'misfit-extraentry\[big\]'",
        "disabled",
        reference="{}.surface [big]",
        requires=('no-such-library>=2; extra == "big"',),
        others={"extensions": {"extraentry:work/own": "{}.own"}},
        more={("extensions", "extraentry:work/own"): ("disabled", "its service .* is disabled: no-such-library")},
    ),
    service(
        "extraimport",
        "import no_such_library.deep",
        r"no-such-library is not installed \(pip install 'misfit-extraimport\[small-one\]'",
        "disabled",
        requires=('no-such-library; extra == "small-one"',),
    ),
    service("extraother", "import quite_another", "ModuleNotFoundError", requires=('no-such-library; extra == "big"',)),
]
