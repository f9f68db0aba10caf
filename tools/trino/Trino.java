import io.trino.testing.DistributedQueryRunner;
import io.trino.testing.TestingSession;
import io.trino.plugin.memory.MemoryPlugin;
/** A Trino with one catalog, memory. It prints its address and runs until it is ended. */
public class Trino {
  public static void main(String[] args) throws Exception {
    var s = TestingSession.testSessionBuilder().setCatalog("memory").setSchema("default").build();
    var r = DistributedQueryRunner.builder(s).setWorkerCount(0).build();
    r.installPlugin(new MemoryPlugin());
    r.createCatalog("memory", "memory");
    System.out.println("READY " + r.getCoordinator().getBaseUrl());
    System.out.flush();
    Thread.sleep(Long.MAX_VALUE);
  }
}
