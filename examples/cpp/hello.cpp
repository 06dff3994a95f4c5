// curl -X POST 'http://127.0.0.1:8080/deploy?name=hello-cpp&lang=cpp' --data-binary @examples/cpp/hello.cpp
#include <iostream>

int main() {
    std::cout << "Hello from C++!\n";
}
