import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.security.MessageDigest;

/** Fetches each URL and prints the SHA-256 of its body. */
public class Get {
    public static void main(String[] urls) throws Exception {
        for (String url : urls) {
            HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
            MessageDigest sum = MessageDigest.getInstance("SHA-256");
            try (InputStream body = connection.getInputStream()) {
                byte[] piece = new byte[65536];
                for (int length; (length = body.read(piece)) > 0; ) {
                    sum.update(piece, 0, length);
                }
            }
            StringBuilder text = new StringBuilder("SHA ");
            for (byte one : sum.digest()) {
                text.append(String.format("%02x", one));
            }
            System.out.println(text);
        }
    }
}
