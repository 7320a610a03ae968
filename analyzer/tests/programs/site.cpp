// A program that knows where it allocates: operator new tells its stack.
#include <cstdio>
#include <cstdlib>
#include <execinfo.h>
#include <functional>
#include <new>
#include <vector>

static bool noting;

static void __attribute__((noinline)) note() {
    void *frames[64];
    int count = backtrace(frames, 64);
    printf("stack");
    for (int i = 1; i < count; i++)
        printf(" %p", frames[i]);
    printf("\n");
}

void *operator new(std::size_t bytes) {
    if (noting)
        note();
    void *block = std::malloc(bytes);
    if (!block)
        throw std::bad_alloc();
    return block;
}
void operator delete(void *block) noexcept { std::free(block); }
void operator delete(void *block, std::size_t) noexcept { std::free(block); }

namespace shop {
template <typename T> struct Store {
    std::vector<T> items;
    __attribute__((noinline)) void insert(T item) {
        items.push_back(item); // SITE
    }
};

__attribute__((noinline)) void fill(Store<long> &store, const std::function<void(long)> &each) {
    noting = true;
    store.insert(1);
    each(2);
    noting = false;
}
} // namespace shop

int main() {
    setvbuf(stdout, nullptr, _IONBF, 0);
    shop::Store<long> store;
    std::vector<long> other;
    shop::fill(store, [&other](long item) {
        other.push_back(item); // LAMBDA
    });
    std::FILE *file = std::fopen("/proc/self/maps", "r");
    char line[4096];
    while (file && std::fgets(line, sizeof line, file))
        std::printf("map %s", line);
    return store.items.size() + other.size() != 2;
}
