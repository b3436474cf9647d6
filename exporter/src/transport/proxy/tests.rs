//! Which endpoint has which proxy, and what it is asked.

use super::*;
use crate::transport::endpoint::Scope;
use crate::transport::http1::Progress;

fn endpoint(value: &str) -> Endpoint {
    Endpoint::parse(value, Scope::Grpc { is_insecure: true }, "TEST").unwrap()
}

fn proxy(value: &str) -> Proxy {
    Proxy::parse(value, "TEST").unwrap()
}

fn given(value: &str) -> Option<Given> {
    Some((value.to_owned(), "TEST"))
}

#[test]
fn the_list_of_exceptions_is_read_as_others_read_it() {
    for (list, host, port, is_covered) in [
        ("", "h", 80, false),
        (" , ,", "h", 80, false),
        ("*", "h", 80, true),
        ("*", "::1", 80, true),
        ("a, *", "h", 80, true),
        ("example.com", "example.com", 80, true),
        ("example.com", "EXAMPLE.com.", 80, true),
        ("Example.COM", "a.b.example.com", 80, true),
        ("example.com", "badexample.com", 80, false),
        ("example.com", "example.com.org", 80, false),
        ("example.com", "com", 80, false),
        (".example.com", "example.com", 80, true),
        (".example.com", "a.example.com", 80, true),
        (".example.com", "badexample.com", 80, false),
        ("*.example.com", "a.example.com", 80, true),
        ("*.example.com", "badexample.com", 80, false),
        ("a,example.com b", "b", 80, true),
        ("example.com:4318", "example.com", 4318, true),
        ("example.com:4318", "a.example.com", 4318, true),
        ("example.com:4318", "example.com", 80, false),
        ("example.com:x", "example.com", 80, false),
        ("10.1.2.3", "10.1.2.3", 80, true),
        ("10.1.2.3", "10.1.2.30", 80, false),
        ("10.1.2.3", "a10.1.2.3", 80, false),
        ("1.2.3", "10.1.2.3", 80, false),
        ("10.1.2.3:1", "10.1.2.3", 1, true),
        ("10.1.2.3:1", "10.1.2.3", 2, false),
        ("10.0.0.0/8", "10.255.0.1", 80, true),
        ("10.0.0.0/8", "11.0.0.1", 80, false),
        ("10.0.0.1/32", "10.0.0.1", 80, true),
        ("10.0.0.1/32", "10.0.0.0", 80, false),
        ("0.0.0.0/0", "10.0.0.1", 80, true),
        ("0.0.0.0/0", "::1", 80, false),
        ("0.0.0.0/0", "h", 80, false),
        ("10.0.0.0/33", "10.0.0.0", 80, false),
        ("10.0.0.0/x", "10.0.0.0", 80, false),
        ("::1", "::1", 80, true),
        ("[::1]", "::1", 80, true),
        ("[::1]:4318", "::1", 4318, true),
        ("[::1]:4318", "::1", 4317, false),
        ("0:0::1", "::1", 80, true),
        ("fd00::/8", "fdff::1", 80, true),
        ("fd00::/8", "fe00::1", 80, false),
        ("::ffff:10.0.0.1", "10.0.0.1", 80, true),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 80, true),
        (".", "h", 80, false),
        ("*.", "h", 80, false),
    ] {
        let found = Bypass::parse(list).covers(host, port);
        assert_eq!(found, is_covered, "{list:?} {host} {port}");
    }
}

#[test]
fn the_variable_of_the_scheme_wins_over_the_one_for_all() {
    let choices = Choices { http: given("one:1"), all: given("all:3"), ..Choices::default() };
    assert_eq!(choices.of(&endpoint("http://h")).unwrap(), Some(proxy("one:1")));
    let choices = Choices { all: given("all:3"), https: given("other:2"), ..Choices::default() };
    assert_eq!(choices.of(&endpoint("http://h")).unwrap(), Some(proxy("all:3")));
    #[cfg(feature = "tls")]
    assert_eq!(choices.of(&endpoint("https://h")).unwrap(), Some(proxy("other:2")));
    assert_eq!(Choices::default().of(&endpoint("http://h")).unwrap(), None);
}

#[test]
fn this_machine_is_reached_through_a_proxy_only_if_the_code_says_so() {
    let local = ["localhost:1", "LOCALHOST.:1", "a.localhost:1", "127.9.9.9:1", "[::1]:1"];
    let variable = Choices { all: given("all:3"), ..Choices::default() };
    let code = Choices { code: given("code:4"), ..variable.clone() };
    for value in local {
        assert_eq!(variable.of(&endpoint(value)).unwrap(), None, "{value}");
        assert_eq!(code.of(&endpoint(value)).unwrap(), Some(proxy("code:4")), "{value}");
    }
    assert_eq!(code.of(&endpoint("unix:/x")).unwrap(), None);
}

#[test]
fn an_exception_beats_every_choice_and_what_is_not_used_is_not_read() {
    let choices = Choices {
        code: given("socks5://nonsense"),
        bypass: Bypass::parse("h"),
        ..Choices::default()
    };
    assert_eq!(choices.of(&endpoint("http://h")).unwrap(), None);
    assert!(choices.of(&endpoint("http://other")).is_err());
}

#[test]
fn a_proxy_is_a_url_or_a_host_and_a_port() {
    for (value, host, port) in [
        ("http://p:3128", "p", 3128),
        ("HTTP://p:3128/", "p", 3128),
        ("p:3128", "p", 3128),
        (" p ", "p", 80),
        ("http://[::1]:1", "::1", 1),
        ("http://u:p@p:1/path?query", "p", 1),
        ("p:1?query", "p", 1),
        // A password that nobody has encoded.
        ("http://u:80/a@b?c#d@p:1/", "p", 1),
    ] {
        let found = proxy(value);
        assert_eq!((&*found.host, found.port), (host, port), "{value}");
    }
}

#[test]
fn what_is_no_http_proxy_is_an_error_that_shows_no_password() {
    for value in [
        "https://user:secret@p",
        "socks5://user:secret@p:1",
        "http://user:secret@",
        "http://user:secret@p:0",
        "http://user:secret@p:x",
        "http://user:secret@p p",
        "user:secret@:1",
        "",
    ] {
        let error = Proxy::parse(value, "HTTP_PROXY").expect_err(value);
        let text = format!("{error} {error:?}");
        assert!(text.contains("HTTP_PROXY") && !text.contains("secret"), "{text}");
    }
    assert!(!format!("{:?}", proxy("user:secret@p")).contains("secret"));
}

#[test]
fn a_tunnel_is_asked_for_by_host_and_port_and_nothing_else_is_said() {
    let version = env!("CARGO_PKG_VERSION");
    let own = format!("user-agent: spanwire/{version} OTel-OTLP-Exporter-Rust/{version}\r\n");
    for (proxy_url, url, host, credentials) in [
        ("p", "http://h", "h:80", ""),
        ("p", "http://h:4318/x?key=secret", "h:4318", ""),
        ("p", "http://[::2]:1", "[::2]:1", ""),
        // The example of RFC 7617, section 2.
        ("Aladdin:open%20sesame@p", "http://h", "h:80", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("u@p", "http://h", "h:80", "Basic dTo="),
        ("u:p:q%40@p", "http://h", "h:80", "Basic dTpwOnFA"),
        ("u:1/2@p", "http://h", "h:80", "Basic dToxLzI="),
    ] {
        let found = String::from_utf8(proxy(proxy_url).request(&endpoint(url))).unwrap();
        let credentials = match credentials {
            "" => String::new(),
            value => format!("proxy-authorization: {value}\r\n"),
        };
        let expected = format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n{own}{credentials}\r\n");
        assert_eq!(found, expected);
    }
}

#[test]
fn an_answer_ends_with_its_head_whatever_length_it_names() {
    for fields in ["", "content-length: 7\r\n", "transfer-encoding: chunked\r\n"] {
        for status in [200, 204, 407, 503] {
            let mut reader = Proxy::reader();
            let head = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
            assert_eq!(reader.feed(head.as_bytes()), Ok(Progress::Done), "{head}");
            assert_eq!(reader.into_response().unwrap().status, status);
        }
    }
}

#[test]
fn no_answer_of_a_proxy_is_a_refusal_by_the_collector() {
    assert_eq!(Proxy::judge(200), Ok(()));
    for (status, words) in
        [(407, "credentials"), (403, "let us through"), (503, "overloaded"), (418, "refuses")]
    {
        let failure = Proxy::judge(status).unwrap_err();
        assert_eq!((failure.phase, failure.status), (Phase::Proxy, None));
        assert!(failure.message.contains(words), "{failure:?}");
    }
}
