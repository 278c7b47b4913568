option(SABER_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer (tools/sanitize)" OFF)

# saber_settings(TARGET): the warnings and language level of every target of this project.
function(saber_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
                                           -Woverloaded-virtual
                                           -Wno-restrict)  # g++ 12 reports it falsely for std::string
  if(SABER_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(SABER_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                                             -fno-omit-frame-pointer -O1 -g1)
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)  # -fPIC, not -fPIE, so that executables can share the precompiled header
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# saber_torch_headers(TARGET): shares the one precompiled torch/torch.h, and compiles several sources at once, since each
# of them spends far more time on LibTorch's headers than on itself. Who works on one file turns that off with
# -DCMAKE_UNITY_BUILD=OFF.
function(saber_torch_headers target)
  target_precompile_headers(${target} REUSE_FROM saber_torch_header)
  if(NOT DEFINED CMAKE_UNITY_BUILD)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)  # takes the joined sources for one header
  endif()
endfunction()

# saber_use_torch(TARGET): links LibTorch.
function(saber_use_torch target)
  target_link_libraries(${target} PUBLIC saber_torch)
  saber_torch_headers(${target})
endfunction()
