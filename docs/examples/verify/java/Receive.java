import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Takes notifications of the gateway, and none that is not genuine:
 *
 * <pre>WEBHOOK_SECRET=whsec_… PORT=8080 java Receive.java</pre>
 */
public final class Receive {
    private static final int MAX_BODY = 1 << 20;
    private static final long TOLERANCE = 300; // seconds

    private final SecretKeySpec key;

    /** Reads a secret as it is handed out. */
    Receive(String secret) {
        byte[] bytes = secret.startsWith("whsec_") ? Base64.getDecoder().decode(secret.substring(6)) : new byte[0];
        if (bytes.length < 24) {
            throw new IllegalArgumentException("WEBHOOK_SECRET: no secret");
        }
        key = new SecretKeySpec(bytes, "HmacSHA256");
    }

    /**
     * Tells whether the gateway has sent this body, and just now. The body is the bytes as they
     * came: the signature is over these, not over what they mean.
     */
    boolean isGenuine(String id, String timestamp, String signatures, byte[] body) throws GeneralSecurityException {
        if (id.isEmpty() || !timestamp.matches("[0-9]{1,12}")
                || Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > TOLERANCE) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(key);
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        byte[] want = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
        boolean found = false;
        for (String signature : signatures.split(" ")) { // two while the secret is changed
            found |= MessageDigest.isEqual(want, signature.getBytes(StandardCharsets.UTF_8)); // in constant time
        }
        return found;
    }

    /** The only value of a header; "" if there is none, or several. */
    private static String only(Headers headers, String name) {
        List<String> values = headers.getOrDefault(name, List.of());
        return values.size() == 1 ? values.get(0) : "";
    }

    private int receive(HttpExchange exchange) throws IOException, GeneralSecurityException {
        if (!exchange.getRequestMethod().equals("POST")) {
            return 405;
        }
        byte[] body = exchange.getRequestBody().readNBytes(MAX_BODY + 1);
        if (body.length > MAX_BODY) {
            return 413;
        }
        Headers headers = exchange.getRequestHeaders();
        String id = only(headers, "Webhook-Id");
        if (!isGenuine(id, only(headers, "Webhook-Timestamp"), only(headers, "Webhook-Signature"), body)) {
            return 401;
        }
        // It is genuine. Store it under its webhook-id, which is unique, and answer; parse it with
        // your JSON library and work on it after that. One that is there already is a repeat: 204
        // as well.
        System.out.println(id + " " + body.length + " bytes");
        return 204;
    }

    private void handle(HttpExchange exchange) {
        try (exchange) {
            int status = 500;
            try {
                status = receive(exchange);
            } finally {
                exchange.sendResponseHeaders(status, -1);
            }
        } catch (IOException | GeneralSecurityException e) {
            System.err.println("a notification was not taken: " + e.getClass().getName());
        }
    }

    public static void main(String[] arguments) throws IOException {
        Receive receiver = new Receive(System.getenv().getOrDefault("WEBHOOK_SECRET", ""));
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", receiver::handle);
        server.start();
    }
}
