//! What the stub engine says: the answers of dockerd 28.5.2, built once at start.

use std::fmt::Write as _;

const ENGINE: &str = "Api-Version: 1.51\r\nDate: Sat, 21 Nov 2026 04:24:00 GMT\r\n\
    Docker-Experimental: false\r\nOstype: linux\r\nServer: Docker/28.5.2 (linux)\r\n";

pub(crate) struct Answers {
    pub(crate) ping: Vec<u8>,
    pub(crate) ping_head: Vec<u8>,
    pub(crate) version: Vec<u8>,
    pub(crate) info: Vec<u8>,
    pub(crate) list: Vec<u8>,
    pub(crate) created: Vec<u8>,
    pub(crate) inspected: Vec<u8>,
    pub(crate) no_content: Vec<u8>,
    pub(crate) missing: Vec<u8>,
    pub(crate) events: Vec<u8>,
    pub(crate) save: Vec<u8>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let id = hex_id(1);
        let ping = format!(
            "HTTP/1.1 200 OK\r\n{ENGINE}Builder-Version: 2\r\nSwarm: inactive\r\n\
             Cache-Control: no-cache, no-store, must-revalidate\r\nPragma: no-cache\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\n"
        );
        let json = "application/json";
        Self {
            ping: format!("{ping}OK").into_bytes(),
            ping_head: ping.into_bytes(),
            version: answer("200 OK", json, VERSION),
            info: answer("200 OK", json, INFO),
            list: answer("200 OK", json, &container_list(100)),
            created: answer("201 Created", json, &format!("{{\"Id\":\"{id}\",\"Warnings\":[]}}\n")),
            inspected: answer("200 OK", json, &format!("{{\"Id\":\"{id}\",{INSPECTED}}}\n")),
            no_content: format!("HTTP/1.1 204 No Content\r\n{ENGINE}\r\n").into_bytes(),
            missing: answer("404 Not Found", json, "{\"message\":\"page not found\"}\n"),
            events: format!(
                "HTTP/1.1 200 OK\r\n{ENGINE}Content-Type: {json}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            )
            .into_bytes(),
            save: format!(
                "HTTP/1.1 200 OK\r\n{ENGINE}Content-Type: application/x-tar\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            )
            .into_bytes(),
        }
    }
}

/// A complete answer with a body of known length.
pub(crate) fn answer(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{ENGINE}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

/// The head of a hijack: 101 for clients that ask for an upgrade, 200 for those that do not.
pub(crate) fn hijacked(upgrade: bool, multiplexed: bool) -> String {
    let kind = if multiplexed { "multiplexed" } else { "raw" };
    if upgrade {
        format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.{kind}-stream\r\n\
             Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
    } else {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.{kind}-stream\r\n\r\n")
    }
}

/// 64 hex digits that differ from one `seed` to the next.
fn hex_id(seed: u64) -> String {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..4).fold(String::new(), |mut id, _| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let _ = write!(id, "{x:016x}");
        id
    })
}

/// `GET /containers/json` of a machine on which one container in eight is of compose.
fn container_list(count: u64) -> String {
    let one = |n: u64| {
        let (id, image, endpoint) = (hex_id(n + 1), hex_id(n % 7 + 500), hex_id(n + 1000));
        let (project, net, hash) = (n / 5, hex_id(n / 5 + 2000), hex_id(n + 3000));
        LISTED
            .replace("$LABELS", if n.is_multiple_of(8) { COMPOSE } else { "{}" })
            .replace("$ID", &id)
            .replace("$IMAGE", &image)
            .replace("$ENDPOINT", &endpoint)
            .replace("$NETWORK", &net)
            .replace("$HASH", &hash)
            .replace("$PROJECT", &format!("project{project}"))
            .replace("$N", &n.to_string())
    };
    format!("[{}]\n", (0..count).map(one).collect::<Vec<_>>().join(","))
}

const LISTED: &str = r#"{"Id":"$ID","Names":["/$PROJECT-web-$N"],"Image":"registry.example.org/team/app:1.27","ImageID":"sha256:$IMAGE","ImageManifestDescriptor":null,"Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1763698000,"Ports":[{"IP":"0.0.0.0","PrivatePort":8080,"PublicPort":3$N,"Type":"tcp"},{"PrivatePort":9090,"Type":"tcp"}],"Labels":$LABELS,"State":"running","Status":"Up 3 hours","HostConfig":{"NetworkMode":"$PROJECT_default"},"NetworkSettings":{"Networks":{"$PROJECT_default":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"02:42:ac:12:00:02","DriverOpts":null,"GwPriority":0,"NetworkID":"$NETWORK","EndpointID":"$ENDPOINT","Gateway":"172.18.0.1","IPAddress":"172.18.0.2","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}},"Mounts":[{"Type":"volume","Name":"$PROJECT_data","Source":"","Destination":"/var/lib/data","Driver":"local","Mode":"z","RW":true,"Propagation":""}]}"#;

const COMPOSE: &str = r#"{"com.docker.compose.config-hash":"$HASH","com.docker.compose.container-number":"1","com.docker.compose.depends_on":"db:service_started:false","com.docker.compose.image":"sha256:$IMAGE","com.docker.compose.oneoff":"False","com.docker.compose.project":"$PROJECT","com.docker.compose.project.config_files":"/srv/$PROJECT/compose.yaml","com.docker.compose.project.working_dir":"/srv/$PROJECT","com.docker.compose.service":"web","com.docker.compose.version":"2.40.3"}"#;

const VERSION: &str = "{\"Platform\":{\"Name\":\"\"},\"Components\":[{\"Name\":\"Engine\",\
    \"Version\":\"28.5.2\",\"Details\":{\"ApiVersion\":\"1.51\",\"Arch\":\"amd64\",\
    \"Experimental\":\"false\",\"MinAPIVersion\":\"1.24\",\"Os\":\"linux\"}}],\
    \"Version\":\"28.5.2\",\"ApiVersion\":\"1.51\",\"MinAPIVersion\":\"1.24\",\
    \"GitCommit\":\"stub\",\"GoVersion\":\"go1.24.9\",\"Os\":\"linux\",\"Arch\":\"amd64\",\
    \"KernelVersion\":\"6.18.0\",\"BuildTime\":\"2026-11-05T00:00:00.000000000+00:00\"}\n";

const INFO: &str = "{\"ID\":\"stub\",\"Name\":\"stub\",\"ServerVersion\":\"28.5.2\",\
    \"OSType\":\"linux\",\"Architecture\":\"x86_64\",\"SecurityOptions\":[]}\n";

const INSPECTED: &str = "\"Name\":\"/stub\",\"State\":{\"Status\":\"running\",\"Running\":true},\
    \"Running\":true,\"ContainerID\":\"stub\",\"Config\":{\"Tty\":false,\"Labels\":{}},\
    \"HostConfig\":{\"NetworkMode\":\"default\"},\"ProcessConfig\":{\"privileged\":false}";
