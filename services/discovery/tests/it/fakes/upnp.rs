//! A UPnP internet gateway device: its search answer, its descriptions, and three of its actions.

use super::Task;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
const MAPPING: [&str; 8] = [
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];

pub(crate) struct Router {
    /// Where searches are to be sent.
    pub(crate) ssdp: SocketAddr,
    actions: Arc<Mutex<Vec<String>>>,
    _tasks: [Task; 2],
}

impl Router {
    /// Starts it. `taken` is an outer port that another machine has.
    pub(crate) async fn start(external: Ipv4Addr, taken: Option<u16>) -> Self {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let search = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let (location, ssdp) = (http.local_addr().expect("bound"), search.local_addr().expect("bound"));
        let actions = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&actions);
        let answering = Task::spawn(async move {
            let mut packet = [0; 1024];
            while let Ok((length, from)) = search.recv_from(&mut packet).await {
                assert!(packet[..length].starts_with(b"M-SEARCH"), "no search");
                let text = format!("HTTP/1.1 200 OK\r\nLOCATION: http://{location}/root.xml\r\n\r\n");
                search.send_to(text.as_bytes(), from).await.expect("sent");
            }
        });
        let serving = Task::spawn(async move {
            while let Ok((stream, _)) = http.accept().await {
                let list = Arc::clone(&list);
                tokio::spawn(async move { serve(stream, external, taken, &list).await });
            }
        });
        Self { ssdp, actions, _tasks: [answering, serving] }
    }

    /// The actions that were asked for, as `AddPortMapping TCP 30303 600 ethereum p2p`.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.actions.lock().expect("no panic").clone()
    }
}

async fn serve(mut stream: TcpStream, external: Ipv4Addr, taken: Option<u16>, list: &Mutex<Vec<String>>) {
    while let Some(request) = read(&mut stream).await {
        let (status, body) = if request.starts_with("GET /root.xml") {
            (200, description())
        } else if request.starts_with("GET /schema.xml") {
            (200, schema())
        } else {
            act(&request, external, taken, list)
        };
        let head = format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request with its body.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).ok()?);
    }
}

fn description() -> String {
    format!(
        "<root><device><deviceList><device><serviceList><service><serviceType>{SERVICE}</serviceType>\
         <controlURL>/control</controlURL><SCPDURL>/schema.xml</SCPDURL></service></serviceList></device>\
         </deviceList></device></root>"
    )
}

fn schema() -> String {
    let action = |name: &str, arguments: &[&str]| {
        let argument =
            |name: &&str| format!("<argument><name>{name}</name><direction>in</direction></argument>");
        let arguments = arguments.iter().map(argument).collect::<Vec<_>>().concat();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    let actions = [
        action("AddPortMapping", &MAPPING),
        action("DeletePortMapping", &["NewRemoteHost", "NewExternalPort", "NewProtocol"]),
    ];
    format!("<scpd><actionList>{}</actionList></scpd>", actions.concat())
}

fn act(request: &str, external: Ipv4Addr, taken: Option<u16>, list: &Mutex<Vec<String>>) -> (u16, String) {
    let value = |name: &str| {
        let rest = request.split_once(&format!("<{name}>"))?.1;
        rest.split_once("</").map(|(value, _)| value.to_owned())
    };
    let actions = ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"];
    let action =
        actions.into_iter().find(|action| request.contains(&format!("#{action}\""))).expect("an action");
    let told = ["NewProtocol", "NewExternalPort", "NewLeaseDuration", "NewPortMappingDescription"];
    let line: Vec<_> = [action.to_owned()].into_iter().chain(told.into_iter().filter_map(value)).collect();
    list.lock().expect("no panic").push(line.join(" "));
    let port: Option<u16> = value("NewExternalPort").and_then(|port| port.parse().ok());
    if action == "AddPortMapping" && port == taken {
        let error = "<UPnPError><errorCode>718</errorCode><errorDescription>ConflictInMappingEntry</errorDescription></UPnPError>";
        return (500, envelope(&format!("<s:Fault><detail>{error}</detail></s:Fault>")));
    }
    let inner = match action {
        "GetExternalIPAddress" => format!("<NewExternalIPAddress>{external}</NewExternalIPAddress>"),
        _ => String::new(),
    };
    (200, envelope(&format!("<u:{action}Response xmlns:u=\"{SERVICE}\">{inner}</u:{action}Response>")))
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}</s:Body>\
         </s:Envelope>"
    )
}
