import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM, because starting a JVM costs
 * more than most of the tools.
 *
 * One line in: base64 of stdin, of the class name and of each argument, separated by blanks.
 * One line out: exit status, base64 of stdout, base64 of stderr.
 */
public final class ToolServer {
    /** What a tool's exit becomes; an Error, because tools catch Exception. */
    private static final class Exited extends Error {
        final int status;

        Exited(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    /** System.out and System.err for ever: tools and libraries keep the one they saw first. */
    private static final class Sink extends OutputStream {
        private volatile OutputStream to = OutputStream.nullOutputStream();

        @Override public void write(int b) throws IOException {
            if (Thread.currentThread() != unwinding) {
                to.write(b);
            }
        }

        @Override public void write(byte[] bytes, int from, int count) throws IOException {
            if (Thread.currentThread() != unwinding) {
                to.write(bytes, from, count);
            }
        }
    }

    private static final class Source extends InputStream {
        private volatile InputStream from = InputStream.nullInputStream();

        @Override public int read() throws IOException {
            return from.read();
        }

        @Override public int read(byte[] bytes, int at, int count) throws IOException {
            return from.read(bytes, at, count);
        }
    }

    private static final Sink OUT = new Sink();
    private static final Sink ERR = new Sink();
    private static final Queue<Runnable> HOOKS = new ConcurrentLinkedQueue<>();
    private static volatile Integer exited;
    private static volatile Thread unwinding;

    /**
     * The first exit is the tool's. Nothing that its thread prints while unwinding counts, since in
     * a JVM of its own it would be gone; unwinding closes its clients.
     */
    private static synchronized void exit(int status) {
        if (exited == null) {
            System.out.flush();
            System.err.flush();
            exited = status;
            unwinding = Thread.currentThread();
        }
        throw new Exited(status);
    }

    public static void main(String[] unused) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        Source in = new Source();
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        System.setIn(in);
        Exit.setExitProcedure((status, message) -> exit(status));
        Exit.setHaltProcedure((status, message) -> exit(status));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));

        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String[] words = line.split(" ", -1);
            ByteArrayOutputStream stdout = new ByteArrayOutputStream();
            ByteArrayOutputStream stderr = new ByteArrayOutputStream();
            OUT.to = stdout;
            ERR.to = stderr;
            in.from = new ByteArrayInputStream(Base64.getDecoder().decode(words[0]));
            String[] arguments = new String[words.length - 2];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = text(words[i + 2]);
            }
            String name = text(words[1]);
            exited = null;
            unwinding = null;
            Thread tool = new Thread(() -> run(name, arguments), name);
            tool.start();
            tool.join();
            for (Runnable hook = HOOKS.poll(); hook != null; hook = HOOKS.poll()) {
                hook.run();
            }
            System.out.flush();
            System.err.flush();
            answers.println((exited == null ? 0 : exited) + " " + encoded(stdout) + " " + encoded(stderr));
            answers.flush();
        }
    }

    private static void run(String name, String[] arguments) {
        try {
            Class.forName(name).getMethod("main", String[].class)
                .invoke(null, (Object) arguments);
        } catch (InvocationTargetException wrapped) {
            if (!(wrapped.getCause() instanceof Exited)) {
                exited = 1;
                wrapped.getCause().printStackTrace();
            }
        } catch (ReflectiveOperationException absent) {
            exited = 127;
            absent.printStackTrace();
        }
    }

    private static String text(String encoded) {
        return new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
    }

    private static String encoded(ByteArrayOutputStream bytes) {
        return Base64.getEncoder().encodeToString(bytes.toByteArray());
    }
}
