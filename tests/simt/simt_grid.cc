/* Runs the blocks of a launch on the workers: the launching thread and its helpers. */
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unistd.h>

#include "simt_state.h"

namespace simt {

static Worker *new_worker() {
    static std::atomic<int> workers;
    Worker *w = (Worker *)calloc(1, sizeof(Worker));
    if (!w || posix_memalign((void **)&w->arena, 1024, ARENA_BYTES)) abort();
    w->random = (options.seed + (uint64_t)workers++) * 0x9e3779b97f4a7c15u | 1;
    return w;
}

static void place_threads(Worker &w, dim3 block) {
    bool same = w.last_dim.x == block.x && w.last_dim.y == block.y && w.last_dim.z == block.z;
    for (int i = 0; i < w.n; i++) {
        Thread &t = w.th[i];
        t.state = UNSTARTED;
        t.copy_group = 0;
        t.n_copies = 0;
        t.what = nullptr;
        if (same) continue;
        unsigned u = (unsigned)i;
        t.lin = i;
        t.lane = i & 31;
        t.warp = &w.warp[i >> 5];
        t.tid = {u % block.x, u / block.x % block.y, u / block.x / block.y};
        w.order[i] = options.order == Options::REVERSE ? w.n - 1 - i : i;
    }
    w.last_dim = block;
    if (options.order == Options::RANDOM)
        for (int i = w.n - 1; i > 0; i--) std::swap(w.order[i], w.order[random_next(w) % (uint64_t)(i + 1)]);
    for (int i = 0; i * 32 < w.n; i++) {
        Warp &warp = w.warp[i];
        warp.id = i;
        warp.epoch = 0;
        warp.live = w.n - i * 32 >= 32 ? ~0u : (1u << (w.n - i * 32)) - 1;
    }
}

static void run_block(Worker &w, Grid &g, uint64_t block) {
    wk = &w;
    w.kernel = g.name;
    w.grid = &g;
    w.body = g.body;
    w.arg = g.arg;
    w.dynamic_bytes = w.shared_bytes = w.arena_top = g.bytes;
    w.launch_id = g.id;
    w.block_id = block;
    bx.gdim = g.grid;
    bx.bdim = g.block;
    bx.bid = {(unsigned)(block % g.grid.x), (unsigned)(block / g.grid.x % g.grid.y),
              (unsigned)(block / g.grid.x / g.grid.y)};
    w.n = w.live = (int)(g.block.x * g.block.y * g.block.z);
    w.favour = options.order == Options::RANDOM && random_next(w) & 16 ? 0 : -1;
    w.ready_head = w.ready_tail = w.spins = 0;
    w.started = w.epoch = w.n_shared = 0;
    place_threads(w, g.block);
    ASAN_POISON_MEMORY_REGION(w.arena, ARENA_BYTES);
    ASAN_UNPOISON_MEMORY_REGION(w.arena, g.bytes);
    memset(w.arena, 0xff, g.bytes);
    run_threads(w);
    w.grid = nullptr;
}

static void run_blocks(Worker &w, Grid &g) {
    for (uint64_t i; (i = g.next++) < g.n_blocks && !g.failed;)
        run_block(w, g,
                  options.order == Options::REVERSE  ? g.n_blocks - 1 - i
                  : options.order == Options::RANDOM ? (i * 2654435761u + options.seed) % g.n_blocks
                                                     : i);
}

/* Helpers share a grid's blocks with the thread that launches it. They live as long as the process. */
struct Pool {
    std::mutex lock, busy; /* busy: by whose grid */
    std::condition_variable wake;
    Grid *grid = nullptr;
    unsigned turn = 0;
    pid_t process = 0;

    void help() {
        Worker *w = new_worker();
        for (unsigned seen = 0;;) {
            Grid *g;
            {
                std::unique_lock<std::mutex> l(lock);
                wake.wait(l, [&] { return turn != seen; });
                seen = turn;
                g = grid;
                if (!g) continue;
                g->users++;
            }
            run_blocks(*w, *g);
            g->users--;
        }
    }

    void run(Worker &mine, Grid &g) {
        if (process != getpid()) { /* threads do not survive a fork */
            process = getpid();
            for (int i = 1; i < options.workers; i++) std::thread([this] { help(); }).detach();
        }
        {
            std::lock_guard<std::mutex> l(lock);
            grid = &g;
            turn++;
        }
        wake.notify_all();
        run_blocks(mine, g);
        {
            std::lock_guard<std::mutex> l(lock);
            grid = nullptr;
        }
        while (g.users) std::this_thread::yield();
    }
};
static Pool &pool = *new Pool; /* never destroyed: its threads still run at exit */

bool run_grid(Grid &g) {
    static thread_local Worker *mine;
    static std::mutex &checked = *new std::mutex; /* racecheck sees one grid at a time */
    std::unique_lock<std::mutex> one(checked, std::defer_lock);
    if (note) one.lock();
    if (!mine) mine = new_worker();
    bool large = g.n_threads >= 1024 || g.n_threads == g.n_blocks;
    if (options.workers > 1 && g.n_blocks > 1 && large && pool.busy.try_lock()) {
        pool.run(*mine, g);
        pool.busy.unlock();
    } else {
        run_blocks(*mine, g);
    }
    wk = nullptr;
    return !g.failed;
}

} // namespace simt
