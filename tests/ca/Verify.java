// Which chains Java takes: a line for each case of the folder. `verify.py` runs it with the JVM's trust store set to
// the one that we have written. With `with-lists`, PKIX also wants a revocation list for each certificate.
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CRL;
import java.security.cert.CertPathValidator;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

public class Verify {
    static final String DEFAULT = TrustManagerFactory.getDefaultAlgorithm();
    static Path folder;
    static CertificateFactory factory;

    public static void main(String[] args) throws Exception {
        folder = Path.of(args[0]);
        factory = CertificateFactory.getInstance("X.509");
        boolean withLists = args.length > 1;
        for (String line : Files.readAllLines(folder.resolve("cases"))) {
            String name = line.split(" ")[0];
            List<Certificate> chain = new ArrayList<>(
                factory.generateCertificates(open(name + ".chain.pem")));
            try {
                if (withLists) {
                    checkWithLists(chain);
                } else {
                    trustManager().checkServerTrusted(chain.toArray(new X509Certificate[0]), "ECDHE_ECDSA");
                }
                System.out.println(name + " accept");
            } catch (GeneralSecurityException e) {
                System.out.println(name + " reject " + e.getMessage().replace('\n', ' '));
            }
        }
    }

    /** The default one: of the store that `javax.net.ssl.trustStore` names, whatever its format. */
    static X509TrustManager trustManager() throws Exception {
        TrustManagerFactory all = TrustManagerFactory.getInstance(DEFAULT);
        all.init((KeyStore) null);
        for (TrustManager one : all.getTrustManagers()) {
            if (one instanceof X509TrustManager manager) {
                return manager;
            }
        }
        throw new IllegalStateException("no trust manager");
    }

    static void checkWithLists(List<Certificate> chain) throws Exception {
        KeyStore store = KeyStore.getInstance(
            Path.of(System.getProperty("javax.net.ssl.trustStore")).toFile(), "changeit".toCharArray());
        PKIXParameters parameters = new PKIXParameters(store);
        List<CRL> lists = new ArrayList<>();
        for (String name : List.of("root.crl", "intermediate.crl")) {
            lists.add(factory.generateCRL(open(name)));
        }
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        parameters.setRevocationEnabled(true);
        // As the default trust manager does for a server's leaf.
        X509Certificate leaf = (X509Certificate) chain.get(0);
        List<String> purposes = leaf.getExtendedKeyUsage();
        if (purposes != null && !purposes.contains("1.3.6.1.5.5.7.3.1")) {
            throw new GeneralSecurityException("not for servers");
        }
        CertPathValidator.getInstance("PKIX").validate(factory.generateCertPath(chain), parameters);
    }

    static ByteArrayInputStream open(String name) throws Exception {
        return new ByteArrayInputStream(Files.readAllBytes(folder.resolve(name)));
    }
}
