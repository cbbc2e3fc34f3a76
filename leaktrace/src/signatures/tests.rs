//! The built-in families against stacks as the projects have them, and files that are wrong.

use std::fmt::Write as _;

use super::{Families, Family, Kind, Program};
use crate::binary::Frame;

const KUBERNETES: &str = "k8s.io/kubernetes";

fn frame(function: &str) -> Frame {
    Frame { function: function.into(), file: "x.go".into(), line: 1, start_line: 1, inlined: false }
}

/// Names of the families that match, best first; a `|` separates the stack (innermost first), the
/// first function and the creator.
fn matched(families: &Families, goroutine: &str) -> Vec<String> {
    let mut parts = goroutine.split('|').map(str::trim);
    let stack: Vec<_> =
        parts.next().unwrap().split(' ').filter(|name| !name.is_empty()).map(frame).collect();
    let mut one = || parts.next().filter(|name| !name.is_empty()).map(frame);
    let (start, creator) = (one(), one());
    let found = families.match_stack(&stack, creator.as_ref(), start.as_ref());
    found.into_iter().map(|family| family.name.clone()).collect()
}

fn family<'a>(families: &'a Families, name: &str) -> &'a Family {
    families.list().iter().find(|family| family.name == name).unwrap()
}

/// A file of one family with `more` lines.
fn one(more: &str) -> String {
    format!("[[family]]\nname = \"mine\"\nmeaning = \"m\"\ncheck = \"c\"\n{more}\n")
}

fn error(text: &str) -> String {
    Families::built_in().with_text("my.toml", text).unwrap_err().to_string()
}

/// A goroutine of each family as the projects' sources make it.
const KNOWN: [(&str, &str); 29] = [
    (
        "kubelet: pod workers",
        "runtime.gopark k8s.io/kubernetes/pkg/kubelet.(*podWorkers).podWorkerLoop k8s.io/kubernetes/pkg/kubelet.(*podWorkers).UpdatePod.func1 | k8s.io/kubernetes/pkg/kubelet.(*podWorkers).UpdatePod.func1 | k8s.io/kubernetes/pkg/kubelet.(*podWorkers).UpdatePod",
    ),
    (
        "kubelet: probers",
        "runtime.gopark runtime.selectgo k8s.io/kubernetes/pkg/kubelet/prober.(*worker).run | k8s.io/kubernetes/pkg/kubelet/prober.(*worker).run | k8s.io/kubernetes/pkg/kubelet/prober.(*manager).AddPod",
    ),
    (
        "cadvisor: housekeeping",
        "runtime.gopark github.com/google/cadvisor/manager.(*containerData).housekeepingTick github.com/google/cadvisor/manager.(*containerData).housekeeping | github.com/google/cadvisor/manager.(*containerData).housekeeping | github.com/google/cadvisor/manager.(*containerData).Start",
    ),
    (
        "cadvisor: housekeeping",
        "runtime.gopark k8s.io/kubernetes/vendor/github.com/google/cadvisor/manager.(*containerData).housekeeping",
    ),
    (
        "CRI streaming: exec, attach, logs, port-forward",
        "runtime.gopark sync.(*Cond).Wait github.com/moby/spdystream.(*PriorityFrameQueue).Pop github.com/moby/spdystream.(*Connection).Serve.func1 | github.com/moby/spdystream.(*Connection).Serve.func1 | github.com/moby/spdystream.(*Connection).Serve",
    ),
    (
        "CRI streaming: exec, attach, logs, port-forward",
        "runtime.gopark k8s.io/apimachinery/pkg/util/httpstream/wsstream.(*Conn).handle | k8s.io/apimachinery/pkg/util/httpstream/wsstream.(*Conn).Open.func1",
    ),
    (
        "kubelet: calls to the container runtime",
        "runtime.gopark google.golang.org/grpc.(*ClientConn).Invoke k8s.io/cri-api/pkg/apis/runtime/v1.(*runtimeServiceClient).ListContainerStats k8s.io/cri-client/pkg.(*remoteRuntimeService).ListContainerStats",
    ),
    (
        "client-go: watches and reflectors",
        "runtime.gopark k8s.io/apimachinery/pkg/watch.(*StreamWatcher).receive | k8s.io/apimachinery/pkg/watch.(*StreamWatcher).receive | k8s.io/apimachinery/pkg/watch.NewStreamWatcher",
    ),
    (
        "client-go: watches and reflectors",
        "runtime.gopark k8s.io/client-go/tools/cache.handleAnyWatch k8s.io/client-go/tools/cache.(*Reflector).Run",
    ),
    (
        "client-go: informer registrations",
        "runtime.gopark runtime.chanrecv k8s.io/client-go/tools/cache.(*processorListener).run.func1 k8s.io/apimachinery/pkg/util/wait.BackoffUntil k8s.io/client-go/tools/cache.(*processorListener).run k8s.io/apimachinery/pkg/util/wait.(*Group).Start.func1",
    ),
    (
        "client-go: informer registrations",
        "runtime.selectgo k8s.io/client-go/tools/cache.(*processorListener).pop k8s.io/apimachinery/pkg/util/wait.(*Group).Start.func1",
    ),
    (
        "containerd: exec and tasks",
        "runtime.gopark github.com/containerd/containerd/v2/internal/cri/server.(*criService).execInContainer",
    ),
    (
        "containerd: exec and tasks",
        "runtime.gopark github.com/containerd/containerd.(*process).Wait.func1 | github.com/containerd/containerd.(*process).Wait.func1",
    ),
    (
        "ttrpc: shim connections",
        "runtime.gopark github.com/containerd/ttrpc.(*Client).run | github.com/containerd/ttrpc.(*Client).run | github.com/containerd/ttrpc.NewClient",
    ),
    (
        "gRPC: client connections",
        "internal/poll.runtime_pollWait bufio.(*Reader).Read google.golang.org/grpc/internal/transport.(*http2Client).reader | google.golang.org/grpc/internal/transport.(*http2Client).reader | google.golang.org/grpc/internal/transport.NewHTTP2Client",
    ),
    (
        "gRPC: client connections",
        "runtime.gopark google.golang.org/grpc/internal/transport.(*controlBuffer).get google.golang.org/grpc/internal/transport.(*loopyWriter).run google.golang.org/grpc/internal/transport.NewHTTP2Client.func6",
    ),
    (
        "gRPC: calls without an answer",
        "runtime.gopark google.golang.org/grpc.(*clientStream).RecvMsg google.golang.org/grpc.invoke google.golang.org/grpc.(*ClientConn).Invoke main.call",
    ),
    (
        "gRPC: open streams of clients",
        "runtime.gopark google.golang.org/grpc.newClientStreamWithParams.func4 | google.golang.org/grpc.newClientStreamWithParams.func4 | google.golang.org/grpc.newClientStreamWithParams",
    ),
    (
        "gRPC: server connections and handlers",
        "runtime.gopark google.golang.org/grpc/internal/transport.(*http2Server).keepalive | google.golang.org/grpc/internal/transport.(*http2Server).keepalive | google.golang.org/grpc/internal/transport.NewServerTransport",
    ),
    (
        "net/http: response bodies not closed",
        "runtime.gopark runtime.selectgo net/http.(*persistConn).readLoop | net/http.(*persistConn).readLoop | net/http.(*Transport).dialConn",
    ),
    (
        "net/http: client connections",
        "runtime.gopark runtime.netpollblock internal/poll.runtime_pollWait net.(*conn).Read net/http.(*persistConn).Read bufio.(*Reader).Peek net/http.(*persistConn).readLoop | net/http.(*persistConn).readLoop | net/http.(*Transport).dialConn",
    ),
    (
        "net/http: client connections",
        "runtime.selectgo net/http.(*persistConn).writeLoop | net/http.(*persistConn).writeLoop | net/http.(*Transport).dialConn",
    ),
    (
        "net/http: server connections and handlers",
        "main.stuck net/http.HandlerFunc.ServeHTTP net/http.(*conn).serve | net/http.(*conn).serve |",
    ),
    (
        "context: watchers of foreign contexts",
        "runtime.gopark runtime.selectgo context.(*cancelCtx).propagateCancel.func2 | context.(*cancelCtx).propagateCancel.func2 | context.(*cancelCtx).propagateCancel",
    ),
    (
        "etcd client: leases kept alive",
        "runtime.selectgo go.etcd.io/etcd/client/v3.(*lessor).keepAliveCtxCloser | go.etcd.io/etcd/client/v3.(*lessor).keepAliveCtxCloser",
    ),
    (
        "etcd client: watches",
        "runtime.selectgo go.etcd.io/etcd/clientv3.(*watchGrpcStream).run | go.etcd.io/etcd/clientv3.(*watchGrpcStream).run",
    ),
    (
        "etcd server: watches and leases",
        "runtime.selectgo go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*serverWatchStream).sendLoop",
    ),
    (
        "usual: gRPC reconnection",
        "runtime.selectgo google.golang.org/grpc.(*addrConn).resetTransportAndUnlock",
    ),
    (
        "usual: resync of reflectors",
        "runtime.selectgo k8s.io/client-go/tools/cache.(*Reflector).startResync",
    ),
];

#[test]
fn each_known_goroutine_has_its_family_first() {
    let families = Families::built_in();
    for (name, goroutine) in KNOWN {
        let found = matched(&families, goroutine);
        assert_eq!(found.first().map(String::as_str), Some(name), "{goroutine}\n{found:?}");
    }
}

#[test]
fn usual_churn_is_marked_and_more_serious_families_are_still_told() {
    let families = Families::built_in();
    let handler =
        "main.stuck net/http.(*conn).serve | net/http.(*conn).serve | net/http.(*Server).Serve";
    let found = matched(&families, handler);
    assert!(found.contains(&"usual: requests of an HTTP server".to_owned()), "{found:?}");
    assert!(found.contains(&"net/http: server connections and handlers".to_owned()), "{found:?}");
    for http2 in [
        "golang.org/x/net/http2.(*Transport)",
        "net/http.(*http2Transport)",
        "net/http/internal/http2.(*Transport)",
    ] {
        let found = matched(&families, &format!("x.y || {http2}.newClientConn"));
        assert_eq!(found, ["usual: HTTP/2 client connections"], "{http2}");
    }
    let usual = |family: &&Family| family.usual;
    assert_eq!(families.list().iter().filter(usual).count(), 6);
    assert!(families.list().iter().filter(usual).all(|family| family.name.starts_with("usual: ")));
}

#[test]
fn other_goroutines_have_no_family() {
    let families = Families::built_in();
    for other in [
        "runtime.gopark main.worker | main.worker | main.main",
        "",
        "| | ",
        "context.WithCancel main.f",
        "*",
    ] {
        assert_eq!(matched(&families, other), [""; 0], "{other}");
    }
}

#[test]
fn a_context_site_has_families_of_its_own_and_its_version_is_judged() {
    let families = Families::built_in();
    let chain: Vec<_> = [
        "context.(*cancelCtx).propagateCancel",
        "context.withCancel",
        "context.WithCancel",
        "k8s.io/kubernetes/pkg/kubelet.(*podWorkers).startPodSync",
        "k8s.io/kubernetes/pkg/kubelet.(*podWorkers).podWorkerLoop",
    ]
    .map(frame)
    .into();
    let found = families.match_context(&chain);
    assert_eq!(found.len(), 1);
    let affects = |module, version| {
        let program = Program { module, version };
        found[0].advice(program).issues[0].affects_program
    };
    assert_eq!(affects(Some("k8s.io/kubernetes@v1.36.2"), Some("v1.36.2-gke.100")), Some(true));
    assert_eq!(affects(Some(KUBERNETES), Some("v1.36.3")), Some(false));
    assert_eq!(affects(Some(KUBERNETES), None), None);
    assert_eq!(affects(Some("example.com/other"), Some("v1.36.2")), None);
    assert_eq!(affects(None, Some("v1.36.2")), None);
    let issue = &found[0].advice(Program::default()).issues[0];
    assert_eq!(
        (issue.id.as_str(), issue.fixed_in.as_deref()),
        ("kubernetes#139823", Some("1.36.3"))
    );
    let goroutines = families.match_stack(&chain, None, None);
    assert!(goroutines.iter().all(|family| family.kind == Kind::Goroutine));
}

#[test]
fn all_conditions_must_hold_and_one_pattern_of_each_is_enough() {
    let text = one(
        "stack = [\"a.first\", \"a.second\"]\nstack_all = [\"b.one*\", \"b.two*\"]\ntop = [\"b.one\"]\nstart = [\"c.start\"]\ncreator = [\"d.made\"]",
    );
    let families = Families::built_in().with_text("my.toml", &text).unwrap();
    let good =
        "runtime.gopark internal/runtime/x.y b.one b.two a.second c.start | c.start | d.made";
    assert_eq!(matched(&families, good), ["mine"]);
    let bad = [
        good.replace("a.second", "a.third"),
        good.replace("b.two", "b.three"),
        good.replace("b.one b.two", "b.two b.one"),
        good.replace("| c.start", "| c.other"),
        good.replace("d.made", ""),
    ];
    for other in bad {
        assert_eq!(matched(&families, &other), [""; 0], "{other}");
    }
}

#[test]
fn the_most_specific_comes_first_and_of_equals_the_users_own() {
    let prober = "x.y k8s.io/kubernetes/pkg/kubelet/prober.(*worker).run";
    let specific = one("stack = [\"k8s.io/kubernetes/pkg/kubelet/prober.(*worker).run\"]");
    let families = Families::built_in().with_text("my.toml", &specific).unwrap();
    assert_eq!(matched(&families, prober), ["mine", "kubelet: probers"]);
    let equal = one("stack = [\"k8s.io/kubernetes/pkg/kubelet/prober.*\"]");
    let families = Families::built_in().with_text("my.toml", &equal).unwrap();
    assert_eq!(matched(&families, prober), ["mine", "kubelet: probers"]);
    let vague = one("stack = [\"*prober.*\"]");
    let families = Families::built_in().with_text("my.toml", &vague).unwrap();
    assert_eq!(matched(&families, prober), ["kubelet: probers", "mine"]);
}

#[test]
fn a_family_of_the_same_name_takes_the_others_place() {
    let text = one("stack = [\"main.probe\"]").replace("mine", "kubelet: probers");
    let before = Families::built_in();
    let families = before.clone().with_text("my.toml", &text).unwrap();
    assert_eq!(families.list().len(), before.list().len());
    assert_eq!(family(&families, "kubelet: probers").meaning, "m");
    assert_eq!(matched(&families, "main.probe"), ["kubelet: probers"]);
}

#[test]
fn issues_that_the_program_has_come_first() {
    let mut text = one("stack = [\"main.x*\"]");
    for (id, ranges) in [("no", "<1.0.0"), ("unknown", ""), ("yes", ">=1.0.0")] {
        let _ = write!(text, "[[family.issue]]\nid = \"{id}\"\nurl = \"https://x.example/{id}\"\n");
        if !ranges.is_empty() {
            let _ = write!(text, "modules = [\"a/b\", \"x.example/x\"]\naffected = \"{ranges}\"\n");
        }
    }
    let families = Families::built_in().with_text("my.toml", &text).unwrap();
    let program = Program { module: Some("x.example/x"), version: Some("v1.2.3") };
    let issues = family(&families, "mine").advice(program).issues;
    let ids: Vec<_> = issues.iter().map(|issue| (&*issue.id, issue.affects_program)).collect();
    assert_eq!(ids, [("yes", Some(true)), ("unknown", None), ("no", Some(false))]);
}

#[test]
fn a_wrong_field_is_named_with_its_file_and_family() {
    let family = "my.toml: family 1 (\"mine\"): ";
    let issue = "stack = [\"main.x\"]\n[[family.issue]]\nid = \"i\"\n";
    let cases = [
        (one(""), "`stack`: no pattern"),
        (one("stack = [\"*\"]"), "`stack`: \"*\" has fewer"),
        (one("stack = [\"main.x\"]\nstrat = [\"main.y\"]"), "unknown field `strat`"),
        (one("stack = 3"), "`stack`"),
        (one("top = [4]"), "`top`"),
        (one("kind = \"thread\""), "unknown variant `thread`"),
        (one("kind = \"context\"\nstart = [\"main.x\"]"), "`start`: a context has none"),
        (one("stack = [\"main.x\"]").replace("\"m\"", "\"\""), "`meaning`: empty"),
        (one("stack = [\"main.x\"]").replace("\"c\"", "\"a\\u001bb\""), "`check`: has a control"),
        (one("stack = [\"main.x\"]").replace("check = \"c\"\n", ""), "missing field `check`"),
        (one(&format!("{issue}url = \"javascript:x\"")), "`issue 1, url`: not an https"),
        (
            one(&format!("{issue}url = \"https://x\"\naffected = \"1.2\"\nmodules = [\"m\"]")),
            "`issue 1, affected`",
        ),
        (
            one(&format!("{issue}url = \"https://x\"\naffected = \"=1.2\"")),
            "`issue 1, modules`: missing",
        ),
        (one(issue), "missing field `url`"),
    ];
    for (text, wanted) in cases {
        let error = error(&text);
        assert!(error.starts_with(family) && error.contains(wanted), "{wanted}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let second = format!("{}{}", one("stack = [\"main.x\"]"), "[[family]]\nmeaning = 3\n");
    assert!(error(&second).starts_with("my.toml: family 2: "), "{}", error(&second));
    let twice = one("stack = [\"main.x\"]").repeat(2);
    assert!(error(&twice).contains("family 2 (\"mine\"): `name`: another"), "{}", error(&twice));
}

#[test]
fn a_file_that_is_no_file_of_families_is_told_by_line_or_size() {
    let broken = error("[[family]]\nname = \n");
    assert!(broken.starts_with("my.toml: ") && broken.contains("line 2"), "{broken}");
    assert!(error("families = []").contains("unknown field `families`"));
    assert!(error("family = 3").starts_with("my.toml: "));
    assert!(error(&format!("#{}", "x".repeat(1 << 20))).contains("larger than 1048576"));
    assert!(error(&format!("x = {}", "[".repeat(100_000))).starts_with("my.toml: "));
    let many = (0..501).fold(String::new(), |text, n| {
        text + &one("stack = [\"main.x\"]").replace("mine", &format!("f{n}"))
    });
    assert!(error(&many).contains("more than 500 families"));
    let thirty = format!("stack = [{}]", "\"main.x\",".repeat(30));
    let patterns = (0..67)
        .fold(String::new(), |text, n| text + &one(&thirty).replace("mine", &format!("f{n}")));
    let refused = error(&patterns);
    assert!(refused.starts_with("my.toml: family 67 (\"f66\"): ") && refused.contains("2000"));
    let long = one(&format!("stack = [{}]", "\"main.x\",".repeat(33)));
    assert!(error(&long).contains("`stack`: more than 32 entries"), "{}", error(&long));
}

#[test]
fn files_are_read_and_their_paths_are_in_errors() {
    let folder = std::env::temp_dir().join(format!("leaktrace-families-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("my.toml");
    let missing = Families::built_in().with_file(&path).unwrap_err().to_string();
    std::fs::write(&path, one("start = [\"main.x\"]")).unwrap();
    let families = Families::built_in().with_file(&path).unwrap();
    std::fs::write(&path, vec![b' '; (1 << 20) + 10]).unwrap();
    let large = Families::built_in().with_file(&path).unwrap_err().to_string();
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let binary = Families::built_in().with_file(&path).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(matched(&families, "| main.x"), ["mine"]);
    let name = path.display().to_string();
    for error in [&missing, &large, &binary] {
        assert!(error.starts_with(&name), "{error}");
    }
    assert!(large.contains("larger than"), "{large}");
}

/// The example of docs/FAMILIES.md is one.
#[test]
fn the_documented_example_is_a_file_of_families() {
    let text = include_str!("../../../docs/FAMILIES.md");
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let families = Families::built_in().with_text("FAMILIES.md", example).unwrap();
    let own = &families.list()[0];
    let program = Program { module: Some("example.com/billing"), version: Some("v2.3.4") };
    assert_eq!(own.advice(program).issues[0].affects_program, Some(true));
    let worker =
        "smtp.Dial example.com/billing/pdf.renderPage | example.com/billing/invoice.(*Pool).work";
    assert_eq!(matched(&families, worker), [own.name.as_str()]);
    let refused = error(&one("stack = [\"*\"]").replace("mine", "billing: invoice workers"));
    let documented = refused.replace("family 1", "family 3");
    assert!(text.contains(&documented), "{documented}");
}
