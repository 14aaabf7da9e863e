import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Starts a local Databricks workspace and sees a token expire: {@code java LocalWorkspaceExample.java}. */
public class LocalWorkspaceExample {
    /** A running workspace; copy this class into your own project. It uses nothing but the JDK. */
    static class LocalWorkspace implements AutoCloseable {
        final Process process;
        final Map<String, String> variables = new HashMap<>();
        final HttpClient http = HttpClient.newHttpClient();

        /** LOCAL_WORKSPACE_BIN names the program; if it is not set, the program is looked up on PATH. */
        LocalWorkspace(String... options) throws IOException {
            var command = new ArrayList<String>();
            command.add(System.getenv().getOrDefault("LOCAL_WORKSPACE_BIN", "databricks-local-workspace"));
            // The program ends with its stdin, so it never outlives this process.
            command.add("--exit-on-stdin-eof");
            command.addAll(List.of(options));
            process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            BufferedReader lines = process.inputReader();
            while (variables.size() < 2) {
                String line = lines.readLine();
                if (line == null) {
                    throw new IOException("the workspace did not start; what it wrote to stderr says why");
                }
                var parts = line.split("=", 2);
                variables.put(parts[0], parts[1]);
            }
        }

        String host() {
            return variables.get("DATABRICKS_HOST");
        }

        String token() {
            return variables.get("DATABRICKS_TOKEN");
        }

        /** A call with a token, or with none where it is null. Without a body, the call is a GET. */
        HttpResponse<String> call(String token, String path, String body) throws IOException, InterruptedException {
            var request = HttpRequest.newBuilder(URI.create(host() + path));
            if (token != null) {
                request.header("Authorization", "Bearer " + token);
            }
            if (body != null) {
                request.POST(BodyPublishers.ofString(body));
            }
            return http.send(request.build(), BodyHandlers.ofString());
        }

        void control(String path, String body) throws IOException, InterruptedException {
            var answer = call(null, "/local/control/" + path, body);
            if (answer.statusCode() != 200) {
                throw new IOException(path + ": " + answer.statusCode() + " " + answer.body());
            }
        }

        void advanceDays(long days) throws IOException, InterruptedException {
            control("clock", "{\"advance_ms\": " + days * 86_400_000L + "}");
        }

        @Override
        public void close() throws IOException, InterruptedException {
            process.getOutputStream().close();
            process.waitFor();
        }
    }

    static void expect(String what, int expected, HttpResponse<String> answer) {
        if (answer.statusCode() != expected) {
            throw new AssertionError(what + ": " + answer.statusCode() + " " + answer.body());
        }
        System.out.println(what + ": " + answer.statusCode());
    }

    public static void main(String[] arguments) throws Exception {
        try (var workspace = new LocalWorkspace("--max-token-lifetime-days", "30")) {
            String me = "/api/2.0/preview/scim/v2/Me";
            var made = workspace.call(workspace.token(), "/api/2.0/token/create", "{\"comment\": \"job\"}");
            expect("a token is made", 200, made);
            Matcher value = Pattern.compile("\"token_value\":\"([^\"]+)\"").matcher(made.body());
            if (!value.find()) {
                throw new AssertionError("no token in the answer");
            }
            expect("it signs in", 200, workspace.call(value.group(1), me, null));
            workspace.advanceDays(31);
            expect("a month later it does not", 403, workspace.call(value.group(1), me, null));
            workspace.control("faults", "{\"action\": {\"status\": 503}}");
            expect("a fault", 503, workspace.call(workspace.token(), me, null));
            expect("and its end", 200, workspace.call(workspace.token(), me, null));
        }
    }
}
