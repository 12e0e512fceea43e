"""Worker modes out of Compose files and Kubernetes manifests, and the traps that YAML sets."""

import json
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocohost.cli.main import VERBS
from nocohost.node.containers import OTHER_VERBS
from nocohost.node.fleet import lint
from nocohost.node.manifests import Manifest, read_manifest


def read(text: str) -> Manifest:
    return read_manifest(dedent(text), "fleet.yaml")


def modes(manifest: Manifest) -> list[tuple[str, str, int]]:
    return [(node.mode, node.where.removeprefix("fleet.yaml: "), node.replicas) for node in manifest.nodes]


def codes(manifest: Manifest) -> list[str]:
    return [finding.code for finding in manifest.findings]


def test_compose_environment_as_map_and_as_list() -> None:
    manifest = read("""
        services:
          db: {image: postgres}
          web:
            environment: {WORKER_MODE: '!', NOCOHOST_HTTP__PORT: 80}
            deploy: {replicas: 2}
          work:
            environment:
              - NOCOHOST_LOG__LEVEL=debug
              - WORKER_MODE=*,-shop:invoice
            scale: 3
          shop:
            environment: ["WORKER_MODE=shop:invoice"]
    """)
    assert modes(manifest) == [
        ("!", "services.web", 2),
        ("*,-shop:invoice", "services.work", 3),
        ("shop:invoice", "services.shop", 1),
    ]
    assert manifest.findings == ()


def test_compose_anchors_and_merge_keys() -> None:
    manifest = read("""
        x-node: &node
          image: shop
          environment: &environment
            NOCOHOST_DATABASE__URL: postgresql://db/shop
            WORKER_MODE: shop:invoice
        services:
          invoices: *node
          web:
            <<: *node
            environment:
              <<: *environment
              WORKER_MODE: "!"
    """)
    assert modes(manifest) == [("shop:invoice", "services.invoices", 1), ("!", "services.web", 1)]


def test_an_empty_mode_serves_everything_on_purpose() -> None:
    assert modes(read("services: {all: {environment: {WORKER_MODE: ''}}}")) == [("", "services.all", 1)]
    assert modes(read("services: {all: {environment: ['WORKER_MODE=']}}")) == [("", "services.all", 1)]


@pytest.mark.parametrize("value", ["!", "", "~", "null", "! # requests only"])
def test_a_null_is_an_error_in_a_compose_map(value: str) -> None:
    manifest = read(f"services:\n  web:\n    environment:\n      WORKER_MODE: {value}\n      OTHER: 1\n")
    assert codes(manifest) == ["plan.yaml_null"]
    assert manifest.findings[0].level == "error"
    assert manifest.findings[0].where == "fleet.yaml: services.web"
    assert "WORKER_MODE: '!'" in manifest.findings[0].message
    assert manifest.nodes == ()


def test_a_name_alone_in_a_compose_list_is_handed_on_and_unknown() -> None:
    manifest = read("services: {web: {environment: [WORKER_MODE]}}")
    assert codes(manifest) == ["plan.unresolved"]
    assert manifest.findings[0].level == "warning"


@pytest.mark.parametrize("value", ["${MODE}", "${MODE:-!}", "$MODE"])
def test_what_compose_fills_in_is_unknown(value: str) -> None:
    assert codes(read(f"services: {{web: {{environment: {{WORKER_MODE: '{value}'}}}}}}")) == ["plan.unresolved"]


@pytest.mark.parametrize(("value", "told"), [("yes", "bool True"), ("12:30", "int 750"), ("[a]", "list ['a']")])
def test_what_yaml_reads_as_something_else_than_text_is_an_error(value: str, told: str) -> None:
    manifest = read(f"services: {{web: {{environment: {{WORKER_MODE: {value}}}}}}}")
    assert codes(manifest) == ["plan.not_text"]
    assert told in manifest.findings[0].message


@pytest.mark.parametrize(
    ("value", "hinted"), [("*", True), ("-", True), ("!,shop:invoice", True), ("*,-shop:invoice", True), ('"!', False)]
)
def test_an_unquoted_mode_that_breaks_the_file_is_reported_with_its_line(value: str, hinted: bool) -> None:
    manifest = read(f"services:\n  web:\n    environment:\n      WORKER_MODE: {value}\n")
    assert codes(manifest) == ["plan.yaml_syntax"]
    finding = manifest.findings[0]
    assert finding.level == "error"
    assert ("quote the mode" in finding.message) is hinted
    if hinted:
        assert finding.where.startswith("fleet.yaml, line 4, column ")


def test_an_unrendered_template_is_recognised() -> None:
    manifest = read("kind: Deployment\nspec: {{ .Values.spec }}\n")
    assert codes(manifest) == ["plan.yaml_syntax"]
    assert "render it first" in manifest.findings[0].message
    assert "line 2" in manifest.findings[0].where


@pytest.mark.parametrize(
    "text",
    ["a\x00b", "[" * 5000, "x: 2024-13-45", "x: !!int 'y'", "x: !!bool 'maybe'", "x: !!int ''", "x: !!timestamp zz",
     "x: !!python/object/apply:os.system [ls]", "? [a]\n: b", "a: &x [*y]", "\udcff: a"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_finding(text: str) -> None:
    manifest = read_manifest(text, "fleet.yaml")
    assert codes(manifest) == ["plan.yaml_syntax"]
    assert manifest.findings[0].where.startswith("fleet.yaml")


@given(st.text() | st.text(alphabet=":-!*&<>{}[]'\"\n ,?|%@`#aWORKER_MODE=services"))
def test_no_text_crashes_the_reader(text: str) -> None:
    assert isinstance(read_manifest(text, "x"), Manifest)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["services", "environment", "kind", "items", "spec", "template", "containers", "env", "envFrom", "name",
             "value", "valueFrom", "configMapKeyRef", "WORKER_MODE", "deploy", "replicas", "scale", "metadata", "data"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_no_shape_crashes_the_reader(value: object) -> None:
    assert isinstance(read_manifest(json.dumps(value), "x"), Manifest)


def test_a_file_without_any_mode_says_so() -> None:
    assert codes(read("services: {db: {image: postgres}}")) == ["plan.no_nodes"]
    assert codes(read("")) == ["plan.no_nodes"]
    assert codes(read("- just\n- a list\n")) == ["plan.no_nodes"]


def test_a_node_without_a_mode_is_not_counted_and_said_to_serve_everything() -> None:
    manifest = read("services: {web: {environment: {NOCOHOST_HTTP__PORT: 80}}}")
    assert codes(manifest) == ["plan.no_mode"]
    assert manifest.findings[0].level == "warning"


@pytest.mark.parametrize(
    ("command", "is_node"),
    [
        ("command: [db, upgrade]", False),
        ("command: nocohost db upgrade", False),
        ("command: [/opt/bin/nocohost, token, list]", False),
        ("command: python -m nocohost db upgrade", False),
        ("entrypoint: [nocohost], command: db upgrade", False),
        ("entrypoint: nocohost", True),
        ("command: [run]", True),
        ("command: [nocohost, --port, '80']", True),
        ("command: 'sh -c \"nocohost'", True),
        ("command: 7", True),
    ],
)
def test_a_container_that_runs_another_verb_is_no_node(command: str, is_node: bool) -> None:
    assert bool(modes(read(f"services: {{a: {{{command}, environment: {{WORKER_MODE: '!'}}}}}}"))) is is_node
    without_mode = read(f"services: {{a: {{{command}, environment: {{NOCOHOST_HTTP__PORT: 80}}}}}}")
    assert ("plan.no_mode" in codes(without_mode)) is is_node


@pytest.mark.parametrize("command", ["args: [db, upgrade]", "command: [nocohost, db], args: [upgrade]"])
def test_a_kubernetes_job_that_upgrades_the_database_is_no_node(command: str) -> None:
    container = f"{{name: up, {command}, env: [{MODE}]}}"
    text = f"kind: Job\nmetadata: {{name: j}}\nspec: {{template: {{spec: {{containers: [{container}]}}}}}}"
    assert modes(read_manifest(text, "fleet.yaml")) == []


def test_every_verb_starts_a_node_or_is_known_not_to() -> None:
    assert {verb.name for verb in VERBS} == OTHER_VERBS | {"run", "up"}


def test_a_misspelt_variable_is_found() -> None:
    manifest = read("services: {web: {environment: {WORKERMODE: '!'}}}")
    assert codes(manifest) == ["plan.misspelt_variable"]
    assert "WORKER_MODE" in manifest.findings[0].message


def pod(*variables: str, name: str = "node") -> str:
    return f"containers: [{{name: {name}, env: [{', '.join(variables)}]}}]"


MODE = "{name: WORKER_MODE, value: '!'}"


@pytest.mark.parametrize(
    ("text", "where", "replicas", "lasting"),
    [
        (f"kind: Pod\nmetadata: {{name: p}}\nspec: {{{pod(MODE)}}}", "Pod p", 1, True),
        (f"kind: Deployment\nmetadata: {{name: d}}\nspec: {{replicas: 3, template: {{spec: {{{pod(MODE)}}}}}}}",
         "Deployment d", 3, True),
        (f"kind: Deployment\nmetadata: {{name: d}}\nspec: {{template: {{spec: {{{pod(MODE)}}}}}}}",
         "Deployment d", 1, True),
        (f"kind: StatefulSet\nmetadata: {{name: s}}\nspec: {{replicas: 0, template: {{spec: {{{pod(MODE)}}}}}}}",
         "StatefulSet s", 0, True),
        (f"kind: DaemonSet\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{{pod(MODE)}}}}}}}",
         "DaemonSet a", 1, True),
        (f"kind: Job\nmetadata: {{name: j}}\nspec: {{parallelism: 4, template: {{spec: {{{pod(MODE)}}}}}}}",
         "Job j", 4, False),
        (("kind: CronJob\nmetadata: {name: c}\n"
         f"spec: {{jobTemplate: {{spec: {{template: {{spec: {{{pod(MODE)}}}}}}}}}}}"), "CronJob c", 1, False),
    ],
)  # fmt: skip
def test_kubernetes_kinds(text: str, where: str, replicas: int, lasting: bool) -> None:
    manifest = read_manifest(text, "fleet.yaml")
    assert modes(manifest) == [("!", f"{where}, container node", replicas)]
    assert manifest.nodes[0].lasting is lasting


def test_several_documents_lists_and_containers_but_not_init_containers() -> None:
    manifest = read("""
        kind: Service
        metadata: {name: web}
        spec: {ports: [{port: 80}]}
        ---
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: 2
          template:
            spec:
              initContainers:
                - {name: upgrade, env: [{name: WORKER_MODE, value: '*'}]}
              containers:
                - {name: proxy, image: envoy}
                - {name: node, env: [{name: WORKER_MODE, value: '!'}]}
        ---
        kind: List
        items:
          - kind: Pod
            metadata: {name: one}
            spec: {containers: [{name: node, env: [{name: WORKER_MODE, value: 'shop:invoice'}]}]}
          - kind: PodList
            items:
              - kind: Pod
                metadata: {name: two}
                spec: {containers: [{name: node, env: [{name: WORKER_MODE, value: '*'}]}]}
        ---
    """)
    assert modes(manifest) == [
        ("!", "Deployment web, container node", 2),
        ("shop:invoice", "Pod one, container node", 1),
        ("*", "Pod two, container node", 1),
    ]


@pytest.mark.parametrize("variable", ["{name: WORKER_MODE, value: !}", "{name: WORKER_MODE}"])
def test_a_null_is_an_error_in_kubernetes(variable: str) -> None:
    text = f"kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: node, env: [{variable}]}}]}}"
    assert codes(read_manifest(text.replace("!}", "!\n}"), "fleet.yaml")) == ["plan.yaml_null"]


def test_the_last_of_two_values_counts_as_in_kubernetes() -> None:
    text = pod("{name: WORKER_MODE, value: '*'}", "{name: WORKER_MODE, value: '!'}")
    assert [mode for mode, *_ in modes(read(f"kind: Pod\nspec: {{{text}}}"))] == ["!"]


def test_config_maps_in_the_file_are_looked_up() -> None:
    manifest = read("""
        kind: Pod
        metadata: {name: by-key}
        spec:
          containers:
            - name: node
              env: [{name: WORKER_MODE, valueFrom: {configMapKeyRef: {name: modes, key: web}}}]
        ---
        kind: Pod
        metadata: {name: whole}
        spec:
          containers:
            - name: node
              envFrom: [{configMapRef: {name: shop}}]
        ---
        kind: ConfigMap
        metadata: {name: modes}
        data: {web: '!'}
        ---
        kind: ConfigMap
        metadata: {name: shop}
        data: {WORKER_MODE: 'shop:invoice'}
    """)
    assert [(mode, where) for mode, where, _ in modes(manifest)] == [
        ("!", "Pod by-key, container node"),
        ("shop:invoice", "Pod whole, container node"),
    ]


def test_what_comes_from_elsewhere_in_kubernetes_is_unknown() -> None:
    text = pod("{name: WORKER_MODE, valueFrom: {secretKeyRef: {name: s, key: k}}}")
    manifest = read(f"kind: Pod\nspec: {{{text}}}")
    assert codes(manifest) == ["plan.unresolved"]
    assert "secretKeyRef" in manifest.findings[0].message
    assert codes(read(f"kind: Pod\nspec: {{{pod('{name: WORKER_MODE, value: $(MODE)}')}}}")) == ["plan.unresolved"]


def test_a_list_that_holds_itself_ends() -> None:
    assert codes(read("kind: List\nitems: &items [{kind: List, items: *items}]")) == ["plan.no_nodes"]


def test_a_file_and_the_linter_together() -> None:
    manifest = read(
        """
        services:
          web: {environment: {WORKER_MODE: !}}
          work: {environment: {WORKER_MODE: 'shop:invoice'}, scale: 2}
    """.replace("!}", "!\n }")
    )
    plan = lint(manifest.nodes, declared={"shop:invoice"}, found=manifest.findings)
    assert [finding.code for finding in plan.findings if finding.level == "error"] == [
        "plan.yaml_null",
        "plan.unserved",
    ]
    assert plan.coverage == {"requests": 0, "shop:invoice": 2}
