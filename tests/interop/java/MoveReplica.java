import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeReplicaLogDirsResult.ReplicaLogDirInfo;
import org.apache.kafka.common.TopicPartitionReplica;

/** Moves a replica: BOOTSTRAP TOPIC PARTITION BROKER DIRECTORY. Prints where it was and is. */
public final class MoveReplica {
    public static void main(String[] arguments) throws Exception {
        var replica = new TopicPartitionReplica(
            arguments[1], Integer.parseInt(arguments[2]), Integer.parseInt(arguments[3]));
        var wanted = arguments[4];
        try (var admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            System.out.println("was " + where(admin, replica).getCurrentReplicaLogDir());
            admin.alterReplicaLogDirs(Map.of(replica, wanted)).all().get();
            ReplicaLogDirInfo found;
            do {
                found = where(admin, replica);
            } while (!wanted.equals(found.getCurrentReplicaLogDir())
                || found.getFutureReplicaLogDir() != null);
            System.out.println("is " + found.getCurrentReplicaLogDir());
            try {
                admin.alterReplicaLogDirs(Map.of(replica, "/is/not/there")).all().get();
            } catch (java.util.concurrent.ExecutionException refused) {
                System.out.println(refused.getCause().getClass().getSimpleName());
            }
        }
    }

    private static ReplicaLogDirInfo where(Admin admin, TopicPartitionReplica replica)
            throws Exception {
        return admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
    }
}
